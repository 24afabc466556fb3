// The kinds that a plan may name, each listed once: each list generates the enum, the
// names in plans, and the dispatch.
#pragma once

// clang-format off: lists, not statements
#define KURVE_ACTIVATIONS(KIND) \
  KIND(linear) KIND(relu) KIND(leaky_relu) KIND(elu) KIND(selu) KIND(gelu) \
  KIND(silu) KIND(sigmoid) KIND(tanh) KIND(softplus) KIND(softsign) KIND(sin) \
  KIND(snake)

// Losses that are a mean over the elements of a row, and the others.
#define KURVE_ELEMENTWISE_LOSSES(KIND) \
  KIND(mean_squared_error) KIND(mean_absolute_error) KIND(huber) KIND(log_cosh) \
  KIND(binary_crossentropy)
#define KURVE_LOSSES(KIND) \
  KURVE_ELEMENTWISE_LOSSES(KIND) \
  KIND(categorical_crossentropy) KIND(sparse_categorical_crossentropy) \
  KIND(gaussian_nll) KIND(pinball)

// Metrics that are a mean over rows, as is every loss, and those that count.
#define KURVE_METRICS(KIND) \
  KIND(root_mean_squared_error) KIND(accuracy) KIND(binary_accuracy) \
  KIND(categorical_accuracy) KIND(sparse_categorical_accuracy) \
  KIND(top_k_categorical_accuracy) KIND(sparse_top_k_categorical_accuracy) \
  KIND(among_first) KIND(mean_absolute_percentage_error) \
  KIND(mean_squared_logarithmic_error) KIND(poisson) KIND(kl_divergence) KIND(hinge) \
  KIND(squared_hinge) KIND(categorical_hinge) KIND(cosine_similarity) \
  KIND(pearson_correlation) KIND(concordance_correlation) \
  KIND(r2_score) KIND(confusion) KIND(class_counts) KIND(confusion_matrix)

#define KURVE_OPTIMIZERS(KIND) \
  KIND(sgd) KIND(rmsprop) KIND(adagrad) KIND(adam) KIND(nadam) KIND(adamax)

// How elements are reduced; in a tie, min, max and argmax take the first.
#define KURVE_REDUCTIONS(KIND) \
  KIND(sum) KIND(mean) KIND(max) KIND(min) KIND(prod) KIND(logsumexp) KIND(argmax)

#define KURVE_OPS(KIND) \
  KIND(dense) KIND(activation) KIND(softmax) KIND(map) KIND(concatenate) KIND(normalization) KIND(reshape) \
  KIND(conv) KIND(conv_transpose) KIND(pool) KIND(global_pool) \
  KIND(batch_normalization) KIND(masked_batch_normalization) KIND(layer_normalization) KIND(scale) \
  KIND(reduce) KIND(cumsum) KIND(permute) KIND(slice) KIND(place) KIND(conv3d) \
  KIND(dropout) KIND(gaussian_noise) KIND(pad) KIND(upsample) KIND(affine_image) \
  KIND(matmul) KIND(embedding) KIND(variable) KIND(batch_reduce) KIND(random) \
  KIND(lstm) KIND(gru) KIND(simple_rnn) KIND(states) KIND(keep_states) \
  KIND(scan) KIND(ctc)
// clang-format on

namespace kurve {

// KindNames<Kind>::all are the names of the values of an enum, in order.
template <class Kind>
struct KindNames;

#define KURVE_ENUMERATOR(name) name,
#define KURVE_NAME(name) #name,
#define KURVE_KINDS(Kind, LIST)                              \
  enum class Kind : int { LIST(KURVE_ENUMERATOR) };          \
  template <>                                                \
  struct KindNames<Kind> {                                   \
    static constexpr const char* all[] = {LIST(KURVE_NAME)}; \
  };

KURVE_KINDS(Activation, KURVE_ACTIVATIONS)
KURVE_KINDS(LossKind, KURVE_LOSSES)
KURVE_KINDS(MetricKind, KURVE_METRICS)
KURVE_KINDS(OptimizerKind, KURVE_OPTIMIZERS)
KURVE_KINDS(ReductionKind, KURVE_REDUCTIONS)

#undef KURVE_KINDS
#undef KURVE_NAME
#undef KURVE_ENUMERATOR

}  // namespace kurve
