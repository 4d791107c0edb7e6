"""Hydra configuration groups; conf/base.yaml is what every recipe starts from."""
