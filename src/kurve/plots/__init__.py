"""Plots of training, fits and images. They need matplotlib: pip install "kurve[plot]".

No global setting is changed, neither rcParams nor the style. Reference marks (text, the
truth, a zero line) use the style's text colour, so plots stay readable on dark styles;
the colours of the model's output are readable on both.
"""

from kurve.core.charts import COLOURS as COLOURS
from kurve.core.charts import GREY as GREY
from kurve.plots.fit import plot_fit as plot_fit
from kurve.plots.images import plot_confusion_matrix as plot_confusion_matrix
from kurve.plots.images import plot_feature_maps as plot_feature_maps
from kurve.plots.images import plot_filters as plot_filters
from kurve.plots.images import plot_images as plot_images
from kurve.plots.residuals import plot_residuals as plot_residuals
from kurve.plots.training import plot_history as plot_history
from kurve.plots.training import plot_sweep as plot_sweep
