"""A Ray cluster of several nodes on this machine, by Ray's own test utility. Run as a program; ends with its stdin.

Prints one line of JSON: the address of the cluster and the process of each node that is not the head.
"""

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster


def raylet_of(node) -> int:
    return node.all_processes["raylet"][0].process.pid


def main(nodes: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    others = [cluster.add_node(num_cpus=1) for _ in range(nodes - 1)]
    cluster.wait_for_nodes()
    print(json.dumps({"address": cluster.address, "raylets": [raylet_of(node) for node in others]}), flush=True)
    sys.stdin.read()
    cluster.shutdown()


main(int(sys.argv[1]))
