"""The tables of path roles by protobuf package, as the networks have them whose specs are protobuf text."""

from int8cal import networks
from int8cal.spec.yaml import known_networks

_ALL = networks.all_networks()
PATH_ROLES = {
    network.root.rpartition(".")[0]: network.path_roles for network in _ALL if network.name not in known_networks()
}
