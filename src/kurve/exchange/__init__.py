"""Models to and from other programs: Keras's files, scikit-learn's networks, ONNX, C.

Everything is imported lazily.
"""
