"""Experiment specs of TAO's TensorFlow networks: protobuf text, read without loss, checked and edited."""
