"""Replicas of what TAO exports: operators, names, attributes and shapes of each network, small and of random weights.

Written after the exporters of NVIDIA's TAO TensorFlow 1 backend (commit 2ec95cb, ``nvidia_tao_tf1/cv/*/export``): which
nodes end a network, which attributes they have, and that their outputs state no shape. What the layers learnt is not in
them: they show structure, not accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH, CLASSES, ANCHORS = 64, 96, 3, 6


class Net:
    """Collects nodes and weights; layers are named as Keras names them."""

    def __init__(self, seed: int = 5) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(seed)
        self.channels: dict[str, int] = {}

    def constant(self, name: str, values: Any) -> str:
        self.weights[name] = np.asarray(values)
        return name

    def weight(self, name: str, *shape: int) -> str:
        fan_in = max(int(np.prod(shape[1:])), 1)
        return self.constant(name, (self.random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32))

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=f"{output}_node", **attributes))
        return output

    def conv(
        self, source: str, name: str, channels: int, *, kernel: int = 3, stride: int = 1, groups: int = 1, of: int = 0
    ) -> str:
        before = of or self.channels[source]
        kernels = f"{name}/kernel"
        if kernels not in self.weights:  # a head whose weights serve several scales
            self.weight(kernels, channels, before // groups, kernel, kernel)
            self.weight(f"{name}/bias", channels)
        output = f"{name}:{source}" if of else name
        pads = [(kernel - 1) // 2] * 4
        sizes: dict[str, Any] = {"kernel_shape": [kernel, kernel], "pads": pads, "strides": [stride, stride]}
        self.node("Conv", [source, kernels, f"{name}/bias"], output, group=groups, dilations=[1, 1], **sizes)
        self.channels[output] = channels
        return output

    def block(
        self, source: str, name: str, channels: int, *, stride: int = 1, act: str = "Relu", groups: int = 1
    ) -> str:
        raw = self.conv(source, name, channels, stride=stride, groups=groups)
        parts = [self.weight(f"{name}/bn/{part}", channels) for part in ("gamma", "beta", "mean", "variance")]
        self.weights[parts[3]] = np.abs(self.weights[parts[3]]) + 0.5
        norm = self.node("BatchNormalization", [raw, *parts], f"{name}/bn")
        self.channels[norm] = channels
        return self.act(norm, act, channels)

    def act(self, source: str, kind: str, channels: int) -> str:
        if kind == "Relu":
            output = self.node("Relu", [source], f"{source}/relu")
        elif kind == "Swish":
            output = self.node("Mul", [source, self.node("Sigmoid", [source], f"{source}/sigmoid")], f"{source}/swish")
        else:
            soft = self.node("Softplus", [source], f"{source}/softplus")
            output = self.node("Mul", [source, self.node("Tanh", [soft], f"{source}/tanh")], f"{source}/mish")
        self.channels[output] = channels
        return output

    def add(self, first: str, second: str, name: str) -> str:
        self.channels[name] = self.channels[first]
        return self.node("Add", [first, second], name)

    def twice(self, source: str, name: str) -> str:
        """Nearest neighbours, twice as large."""
        self.constant("upsample/roi", np.zeros(0, np.float32))
        self.constant("upsample/scales", np.array([1, 1, 2, 2], np.float32))
        self.channels[name] = self.channels[source]
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.node("Resize", [source, "upsample/roi", "upsample/scales"], name, **attributes)

    def flat(self, source: str, last: int) -> str:
        """(N, A·last, H, W) → (N, H·W·A, last), as the heads of SSD are laid out."""
        rows = self.node("Transpose", [source], f"{source}/permute", perm=[0, 2, 3, 1])
        return self.node("Reshape", [rows, self.constant(f"flat{last}", [0, -1, last])], f"{source}/flat")

    def plug_in(
        self, operator: str, name: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        self.nodes.append(helper.make_node(operator, list(inputs), list(outputs), name=name, **attributes))

    def model(self, image: str, outputs: Sequence[tuple[str, int]], *, opset: int = 11, nhwc: bool = False) -> Any:
        dims = ["N", HEIGHT, WIDTH, 3] if nhwc else ["N", 3, HEIGHT, WIDTH]
        used = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes,
            "tf2onnx",
            [helper.make_tensor_value_info(image, TensorProto.FLOAT, dims)],
            [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items() if name in used],
        )
        return helper.make_model(
            graph, producer_name="keras2onnx", opset_imports=[helper.make_opsetid("", opset)], ir_version=6
        )


def _backbone(net: Net, image: str, act: str = "Relu") -> list[str]:
    """Features at strides 4, 8 and 16."""
    net.channels[image] = 3
    stem = net.block(image, "conv1", 16, stride=4, act=act)
    left = net.block(stem, "block_1a", 16, act=act)
    scales = [net.add(stem, left, "add_1")]
    for position, channels in enumerate((24, 32), start=2):
        shortcut = net.conv(scales[-1], f"block_{position}a_shortcut", channels, kernel=1, stride=2)
        main = net.block(scales[-1], f"block_{position}a", channels, stride=2, act=act)
        scales.append(net.act(net.add(main, shortcut, f"add_{position}"), "Relu", channels))
    return scales


def _single_shot(net: Net, scales: Sequence[str], *, shared: bool, sigmoid: int) -> Any:
    """Heads, anchors and the plug-in of SSD, DSSD and RetinaNet."""
    loc, conf, count = [], [], 0
    for position, scale in enumerate(scales):
        names = ("retinanet_loc", "retinanet_conf") if shared else (f"ssd_loc_{position}", f"ssd_conf_{position}")
        of = net.channels[scale] if shared else 0
        loc.append(net.flat(net.conv(scale, names[0], ANCHORS * 4, of=of), 4))
        conf.append(net.flat(net.conv(scale, names[1], ANCHORS * CLASSES, of=of), CLASSES))
        count += ANCHORS * (HEIGHT >> position + 2) * (WIDTH >> position + 2)
    mbox_loc = net.node("Concat", loc, "mbox_loc", axis=1)
    mbox_conf = net.node("Concat", conf, "mbox_conf", axis=1)
    scores = mbox_conf if sigmoid else net.node("Softmax", [mbox_conf], "mbox_conf_softmax", axis=2)
    net.constant("end", [0, -1, 1, 1])
    loc_data = net.node("Reshape", [mbox_loc, "end"], "loc_data")
    conf_data = net.node("Reshape", [scores, "end"], "conf_data")
    anchors = net.constant("anchor_data", net.random.random((1, 2, count * 4, 1), dtype=np.float32))
    net.plug_in(
        "NMSDynamic_TRT",
        "NMS",
        [anchors, loc_data, conf_data],
        ["NMS", "NMS_1"],
        shareLocation=1,
        varianceEncodedInTarget=0,
        backgroundLabelId=0,
        confidenceThreshold=0.01,
        nmsThreshold=0.6,
        topK=400,
        codeType=1,
        keepTopK=200,
        numClasses=CLASSES,
        inputOrder=[1, 2, 0],
        confSigmoid=sigmoid,
        isNormalized=1,
        scoreBits=32,
    )
    return net.model("Input", [("NMS", TensorProto.FLOAT), ("NMS_1", TensorProto.FLOAT)])


def ssd() -> Any:
    net = Net()
    return _single_shot(net, _backbone(net, "Input"), shared=False, sigmoid=0)


def dssd() -> Any:
    """SSD whose finer scales take in the coarser ones, by transposed convolutions and products."""
    net = Net()
    scales = _backbone(net, "Input")
    for position in (1, 0):
        channels = net.channels[scales[position]]
        kernel = net.weight(f"deconv_{position}/kernel", net.channels[scales[position + 1]], channels, 2, 2)
        up = net.node("ConvTranspose", [scales[position + 1], kernel], f"deconv_{position}", strides=[2, 2])
        net.channels[up] = channels
        product = net.node("Mul", [scales[position], net.conv(up, f"after_{position}", channels)], f"fused_{position}")
        net.channels[product] = channels
        scales[position] = net.act(product, "Relu", channels)
    return _single_shot(net, scales, shared=False, sigmoid=0)


def retinanet() -> Any:
    """A feature pyramid, whose scales share the weights of the heads."""
    net = Net()
    scales = _backbone(net, "Input")
    pyramid = [net.conv(scales[2], "P4", 16, kernel=1)]
    for position in (1, 0):
        side = net.conv(scales[position], f"C{position + 2}_reduced", 16, kernel=1)
        pyramid.insert(0, net.add(net.twice(pyramid[0], f"P{position + 3}_up"), side, f"P{position + 2}_merged"))
    return _single_shot(net, pyramid, shared=True, sigmoid=1)


def yolo_v4() -> Any:
    net = Net()
    _, middle, coarse = _backbone(net, "Input", act="Mish")
    pools = [
        net.node("MaxPool", [coarse], f"spp_{k}", kernel_shape=[k, k], pads=[k // 2] * 4, strides=[1, 1])
        for k in (5, 9)
    ]
    spp = net.node("Concat", [coarse, *pools], "spp", axis=1)
    net.channels[spp] = 3 * net.channels[coarse]
    coarse = net.block(spp, "neck", 32, act="Mish")
    merged = net.node("Concat", [net.twice(coarse, "up"), middle], "merged", axis=1)
    net.channels[merged] = 32 + net.channels[middle]
    boxes, scores = [], []
    for name, source, stride in (("big", coarse, 16), ("mid", net.block(merged, "neck_mid", 24, act="Mish"), 8)):
        head = net.flat(net.conv(source, f"conv_{name}_object", ANCHORS * (5 + CLASSES), kernel=1), 5 + CLASSES)
        cells = ANCHORS * (HEIGHT // stride) * (WIDTH // stride)

        def part(what: str, start: int, end: int, head: str = head, name: str = name) -> str:
            ends = [net.constant(f"at{value}", [value]) for value in (start, end)]
            return net.node("Slice", [head, *ends, net.constant("last", [2])], f"{name}/{what}")

        grid = net.constant(f"{name}/grid", net.random.random((1, cells, 2), dtype=np.float32))
        sizes = net.constant(f"{name}/anchors", net.random.random((1, cells, 2), dtype=np.float32))
        centre = net.node("Add", [net.node("Sigmoid", [part("xy", 0, 2)], f"{name}/sig_xy"), grid], f"{name}/centre")
        extent = net.node("Mul", [net.node("Exp", [part("wh", 2, 4)], f"{name}/exp_wh"), sizes], f"{name}/extent")
        boxes.append(net.node("Concat", [centre, extent], f"{name}/box", axis=2))
        seen = net.node("Sigmoid", [part("objectness", 4, 5)], f"{name}/sig_obj")
        kinds = net.node("Sigmoid", [part("classes", 5, 5 + CLASSES)], f"{name}/sig_cls")
        scores.append(net.node("Mul", [seen, kinds], f"{name}/score"))
    box = net.node("Concat", boxes, "encoded", axis=1)
    net.node("Reshape", [box, net.constant("four", [0, -1, 1, 4])], "box")
    net.node("Concat", scores, "cls/mul", axis=1)
    outputs = ["BatchedNMS", "BatchedNMS_1", "BatchedNMS_2", "BatchedNMS_3"]
    net.plug_in(
        "BatchedNMSDynamic_TRT",
        "BatchedNMS_N",
        ["box", "cls/mul"],
        outputs,
        shareLocation=1,
        backgroundLabelId=-1,
        scoreThreshold=0.001,
        iouThreshold=0.5,
        topK=200,
        keepTopK=100,
        numClasses=CLASSES,
        clipBoxes=1,
        isNormalized=1,
        scoreBits=32,
    )
    kinds = [TensorProto.INT32, *[TensorProto.FLOAT] * 3]
    return net.model("Input", list(zip(outputs, kinds, strict=True)))


def efficientdet() -> Any:
    """NHWC in; blocks with depthwise convolutions and squeeze-and-excite; weights of the heads are shared."""
    net = Net()
    image = net.node("Transpose", ["input"], "input/nchw", perm=[0, 3, 1, 2])
    net.channels[image] = 3
    stem = net.block(image, "stem", 16, stride=4, act="Swish")
    scales = []
    for position in range(2):
        deep = net.block(stem, f"blocks_{position}/depthwise", 16, stride=2, act="Swish", groups=16)
        squeezed = net.node("GlobalAveragePool", [deep], f"blocks_{position}/se/squeeze")
        net.channels[squeezed] = 16
        reduced = net.act(net.conv(squeezed, f"blocks_{position}/se/reduce", 4, kernel=1), "Swish", 4)
        gate = net.node(
            "Sigmoid", [net.conv(reduced, f"blocks_{position}/se/expand", 16, kernel=1)], f"gate_{position}"
        )
        excited = net.node("Mul", [deep, gate], f"blocks_{position}/se/excite")
        net.channels[excited] = 16
        stem = net.conv(excited, f"blocks_{position}/project", 16, kernel=1)
        scales.append(stem)
    merged = net.add(net.twice(scales[1], "fpn/up"), scales[0], "fpn/merged")
    boxes, scores, count = [], [], 0
    for position, scale in enumerate((merged, scales[1])):
        boxes.append(net.flat(net.conv(scale, "box_net/predict", ANCHORS * 4, of=16), 4))
        scores.append(net.flat(net.conv(scale, "class_net/predict", ANCHORS * CLASSES, of=16), CLASSES))
        count += ANCHORS * (HEIGHT >> position + 3) * (WIDTH >> position + 3)
    net.node("Concat", boxes, "box_outputs", axis=1)
    net.node("Concat", scores, "class_outputs", axis=1)
    anchors = net.constant("anchors", net.random.random((1, count, 4), dtype=np.float32))
    outputs = ["num_detections", "detection_boxes", "detection_scores", "detection_classes"]
    net.plug_in(
        "EfficientNMS_TRT",
        "non_maximum_suppression",
        ["box_outputs", "class_outputs", anchors],
        outputs,
        plugin_version="1",
        background_class=-1,
        max_output_boxes=100,
        score_threshold=0.4,
        iou_threshold=0.5,
        score_activation=1,
        box_coding=1,
    )
    kinds = [TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32]
    return net.model("input", list(zip(outputs, kinds, strict=True)), opset=13, nhwc=True)


REGIONS, POOL = 12, 5


def faster_rcnn() -> Any:
    """Two plug-ins between the backbone and a head whose layers see five dimensions in TensorRT, and one at the end."""
    net = Net()
    features = _backbone(net, "input_image")[-1]
    rpn = net.act(net.conv(features, "rpn_conv1", 32), "Relu", 32)
    score = net.node("Sigmoid", [net.conv(rpn, "rpn_out_class", 4, kernel=1)], "sigmoid_output")
    regress = net.conv(rpn, "rpn_out_regress", 16, kernel=1)
    net.plug_in(
        "ProposalDynamic",
        "proposal",
        [score, regress],
        ["proposal_out"],
        input_height=HEIGHT,
        input_width=WIDTH,
        rpn_stride=16,
        roi_min_size=1.0,
        nms_iou_threshold=0.7,
        pre_nms_top_n=60,
        post_nms_top_n=REGIONS,
        anchor_sizes=[16.0, 32.0],
        anchor_ratios=[1.0, 0.5],
    )
    net.plug_in(
        "CropAndResizeDynamic",
        "CropAndResize_plugin",
        [features, "proposal_out"],
        ["crop_and_resize_1/Reshape_1:0"],
        crop_height=POOL,
        crop_width=POOL,
    )
    crops = "crop_and_resize_1/Reshape_1:0"
    net.channels[crops] = net.channels[features]
    head = net.block(crops, "block_4a", 32)
    net.node("AveragePool", [head], "avg_pool", kernel_shape=[POOL, POOL])
    net.node("Reshape", ["avg_pool", net.constant("td", [-1, 32])], "time_distributed_flatten/Reshape_1")
    for name, columns in (("dense_class_td", CLASSES), ("dense_regress_td", 4 * (CLASSES - 1))):
        product = net.node(
            "MatMul", ["time_distributed_flatten/Reshape_1", net.weight(f"{name}/kernel", 32, columns)], name
        )
        net.node("Add", [product, net.weight(f"{name}/bias", columns)], f"{name}/add")
    net.node("Softmax", ["dense_class_td/add"], "dense_class_td/softmax", axis=1)
    net.constant("per_image", [-1, REGIONS * CLASSES, 1, 1])
    net.node("Reshape", ["dense_class_td/softmax", "per_image"], "nms_inputs_1/conf_data")
    net.constant("loc_per_image", [-1, REGIONS * 4 * (CLASSES - 1), 1, 1])
    net.node("Reshape", ["dense_regress_td/add", "loc_per_image"], "nms_inputs_1/loc_data")
    rois = net.node("Reshape", ["proposal_out", net.constant("rois", [-1, 1, REGIONS * 4, 1])], "nms_inputs_1/rois")
    net.node("Concat", [rois, rois], "nms_inputs_1/prior_data", axis=1)
    net.plug_in(
        "NMSDynamic_TRT",
        "NMS",
        ["nms_inputs_1/prior_data", "nms_inputs_1/loc_data", "nms_inputs_1/conf_data"],
        ["nms_out", "nms_out_1"],
        shareLocation=0,
        varianceEncodedInTarget=1,
        backgroundLabelId=CLASSES - 1,
        confidenceThreshold=0.05,
        nmsThreshold=0.3,
        topK=REGIONS,
        codeType=1,
        keepTopK=10,
        numClasses=CLASSES,
        inputOrder=[1, 2, 0],
        confSigmoid=0,
        isNormalized=1,
        scoreBits=32,
    )
    return net.model("input_image", [("nms_out", TensorProto.FLOAT), ("nms_out_1", TensorProto.FLOAT)], opset=12)


EXPORTS: dict[str, Callable[[], Any]] = {
    "ssd": ssd,
    "dssd": dssd,
    "retinanet": retinanet,
    "yolo_v4": yolo_v4,
    "efficientdet": efficientdet,
    "faster_rcnn": faster_rcnn,
}
