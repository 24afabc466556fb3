#include "losses.h"

namespace kurve {

bool read_loss(const Spec& spec, Loss& loss) {
  std::optional<LossKind> kind = kind_named<LossKind>(spec.kind);
  if (!kind) return false;
  auto get = [&](const char* name) { return float(number(spec.attrs, name)); };
  loss.kind = *kind;
  switch (loss.kind) {
    case LossKind::mean_squared_error:
    case LossKind::mean_absolute_error:
    case LossKind::log_cosh:
      break;
    case LossKind::huber:
      loss.delta = get("delta");
      break;
    case LossKind::binary_crossentropy:
    case LossKind::categorical_crossentropy:
      loss.from_logits = get("from_logits") != 0;
      loss.smoothing = get("label_smoothing");
      break;
    case LossKind::sparse_categorical_crossentropy:
      loss.from_logits = get("from_logits") != 0;
      break;
    case LossKind::gaussian_nll:
      loss.beta = get("beta");
      break;
    case LossKind::pinball:
      loss.count = int(integer(spec.attrs, "quantiles", 1, max_quantiles));
      for (int i = 0; i < loss.count; i++)
        loss.quantiles[i] = get(("quantile_" + std::to_string(i)).c_str());
  }
  return true;
}

int64_t targets_of(const Loss& loss, int64_t O) {
  if (loss.kind == LossKind::sparse_categorical_crossentropy) return 1;
  int64_t heads = loss.kind == LossKind::gaussian_nll ? 2
                  : loss.kind == LossKind::pinball    ? loss.count
                                                      : 1;
  if (O % heads)
    throw std::invalid_argument(
        "[native] the number of outputs must be a multiple of the outputs per target.");
  return O / heads;
}

}  // namespace kurve
