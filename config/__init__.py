"""Shipped configuration files; read through ``vla_bt.settings.config_path``."""
