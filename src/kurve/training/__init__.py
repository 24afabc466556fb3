"""Training, evaluation and prediction.

network     internals of a model: layers, plan, state, program and compilation
parts       inputs and outputs by name and structure
compilation arguments of `compile`, resolved for each output
trainable   compile
inputs      parsing of user data
batching    division of rows into batches, steps and epochs
feeds       sources of batches: rows in memory, or
streams     iterables of batches
trainer     fit, evaluate and predict: the methods and checks of their arguments
fitting     a call of `fit`, from its arguments to the jobs for the engine
loop        the epochs of `fit`, with steps and validation
predicting  `predict` with a progress bar and callbacks
"""

from kurve.training.epochs import TrainingRun as TrainingRun
from kurve.training.trainer import Trainer as Trainer
