"""The tables of path roles by protobuf package, as the networks have them."""

from int8cal import networks

PATH_ROLES = {network.root.rpartition(".")[0]: network.path_roles for network in networks.all_networks()}
