"""Models to and from other programs: Keras's files, scikit-learn's networks, ONNX, C.

Nothing here is imported before it is used.
"""
