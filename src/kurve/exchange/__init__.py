"""Models to and from other programs' files: Keras's, and scikit-learn's networks.

Nothing here is imported before it is used.
"""
