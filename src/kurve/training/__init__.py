"""Training, evaluation and prediction.

network     the inside of a model: layers, plan, state, program and compilation
trainable   compile
inputs      what users pass as data
trainer     fit, evaluate and predict: the methods and what they ask of their arguments
fitting     a call of `fit`, from its arguments to the jobs for the engine
loop        the epochs of a `fit`, its steps and tests
"""

from kurve.training.loop import TrainingRun as TrainingRun
from kurve.training.trainer import Trainer as Trainer
