#!/usr/bin/env bash
# Runs mypy over every source under the name it is installed as (trees/ is vla_bt.trees), which the source tree alone can't show.
# Promises: exit status of mypy; paths are printed as they stand in the repository.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
stage=build/mypy

mkdir -p "$stage/vla_bt"
find "$stage" -xtype l -delete
for entry in vla_bt/*; do
    [[ $entry == */__pycache__ ]] || ln -sfn "$root/$entry" "$stage/$entry"
done
for mapped in trees behaviours config; do
    ln -sfn "$root/$mapped" "$stage/vla_bt/$mapped"
done
ln -sfn "$root/test" "$root/setup.py" "$stage/"
for file in launch/*.launch.py; do
    # mypy wants a module's name to be an identifier
    [[ -e $file ]] && ln -sfn "$root/$file" "$stage/$(basename "$file" .launch.py)_launch.py"
done

# From the stage, so that the folder launch/ does not pass for the package of that name.
cd "$stage"
"$root/.venv/bin/mypy" --config-file "$root/pyproject.toml" --cache-dir "$root/build/mypy-cache" "$@" vla_bt test ./*.py |
    sed -E -e 's#^vla_bt/(trees|behaviours|config)/#\1/#' -e 's#^(\./)?([a-z_]+)_launch\.py#launch/\2.launch.py#'
