"""Training, evaluation and prediction.

network     the inside of a model: layers, plan, state, program and compilation
parts       inputs and outputs by name and structure
compilation what `compile` was given, and what that means for each output
trainable   compile
inputs      what users pass as data
batching    how rows are divided into batches, steps and epochs
feeds       where the batches come from: rows in memory, or
streams     objects that give one batch after the other
trainer     fit, evaluate and predict: the methods and what they ask of their arguments
fitting     a call of `fit`, from its arguments to the jobs for the engine
loop        the epochs of a `fit`, its steps and tests
predicting  `predict` with a progress bar and callbacks
"""

from kurve.training.loop import TrainingRun as TrainingRun
from kurve.training.trainer import Trainer as Trainer
