// The models that the driver runs; they cover every op, activation, loss and optimizer.
#pragma once

#include <list>

#include "models.h"

namespace proofs {

// 1 -> 7 x 256 relu -> 1.
inline Builder article() {
  Builder b({1});
  for (int i = 0; i < 7; i++) b.dense(256, "relu");
  b.dense(1, "linear");
  return b;
}

inline Builder small() {
  Builder b({8});
  b.dense(64, "relu").dense(64, "relu").dense(1, "linear");
  return b;
}

inline Spec sparse_labels() {
  return {"sparse_categorical_crossentropy", {{"from_logits", 0.0}}};
}

// Like the convnet of Keras's first image example, with bytes as pixels.
inline Builder convnet(int64_t size, int64_t filters, int64_t more) {
  Builder b({size, size, 1});
  b.scale(1.0 / 255, 0).conv(3, 3, filters, "relu").pool("max", 2, 2, {2, 2});
  b.conv(3, 3, more, "relu").pool("max", 2, 2, {2, 2});
  b.flatten().dropout(0.5).dense(10, "linear").softmax();
  return b;
}

// The image ops that the convnet does not use, in two models.
inline Builder pictures() {
  Builder b({12, 11, 4});
  b.moved("translation", "reflect").moved("rotation", "constant").moved("flip", "wrap");
  b.noise(0.1).pad(1, 2).conv(9, 9, 12, "tanh", {.groups = 2}).batch_normalization();
  b.depthwise(3, 1, "silu", {.same = true}).dropout(0.2, true);
  b.transposed(3, 9, 2, "relu").pool("average", 3, 2, {2, 3, 1, 1, true});
  b.depthwise(3, 2, "linear", {.same = true}).conv(1, 1, 7, "elu");
  b.upsample(2, 3, "bilinear").pool("max", 3, 2, {1, 2, 1, 1, true});
  b.conv(3, 3, 37, "gelu", {.dilation_w = 2}).pool("max", 2, 2, {2, 2});
  b.layer_normalization(37).conv(2, 2, 5, "relu", {2, 1, 1, 1, true});
  b.global_pool("max").dense(2, "linear");
  return b;
}

inline Builder sequences() {
  Builder b({24, 5});
  b.scale(0.5, -0.1).conv(1, 4, 34, "relu", {.stride_w = 2, .same = true});
  b.batch_normalization(true).conv(1, 3, 6, "tanh", {.dilation_w = 2, .groups = 2});
  b.upsample(1, 3, "nearest").pool("average", 1, 2, {1, 2}).reshape({4, 9, 2});
  b.conv(2, 3, 8, "relu", {.same = true}).pool("max", 2, 3, {2, 3});
  b.transposed(2, 3, 1, "gelu").reshape({12, 3}).layer_normalization(36);
  b.dropout(0.3, true).global_pool("average").dense(3, "linear");
  return b;
}

// Table rows, their products with each other, with a variable and with random numbers;
// ops compute the loss.
inline Builder words() {
  Builder b({21});
  b.embedding(256, 18).matmul(1, 1).softmax().whole({30, 21}).matmul(3, 4);
  b.random("normal").matmul(5, 6).random("uniform").matmul(7, 8).flatten();
  b.dense(5, "tanh").head().activation("softplus").batch_mean();
  return b;
}

// Every recurrent cell in turn.
inline Builder recurrences() {
  Builder b({9, 5});
  b.recurrent("lstm", 19, {"sequences", "states", "reverse"});
  b.recurrent("gru", 33, {"sequences", "reset_after"});
  b.recurrent("gru", 7, {"sequences", "reverse"}, "softsign");
  b.recurrent("simple_rnn", 37, {"sequences"}, "silu").recurrent("lstm", 6);
  return b.dense(2, "linear");
}

// Volumes, reductions and moved elements.
inline Builder volumes() {
  Builder b({5, 6, 7, 3});
  b.conv3d(1, 5, "tanh").conv3d(2, 19, "gelu").reduce("max", 1, 1);
  b.permute({1, 2, 0}).cumsum(1, true).slice({5, 1, 3}, {6, 18, 2}, {-1, 1, -3});
  b.place({9, 20, 4}, {7, 0, 3}, {-1, 1, -2}).cumsum(2, false).permute({0, 2, 1});
  b.reduce("logsumexp", 1, 1).dense(33, "tanh").reduce("mean", 0, 1).dense(40, "tanh");
  b.reshape({4, 10}).reduce("prod", 0, 1).reshape({2, 5}).reduce("min", 1, 1);
  b.dense(18, "relu").reshape({3, 6}).reduce("sum", 1, 1).dense(2, "linear");
  return b;
}

inline std::list<Case> all_cases() {
  const Spec mse{"mean_squared_error", {}};
  std::list<Case> cases;
  Builder b = article();
  cases.emplace_back("article", b, mse, adam(), std::vector<MetricSpec>{}, 100, 20);
  b = small();
  cases.emplace_back("small", b, mse, adam(),
                     std::vector<MetricSpec>{{{"mean_absolute_error", {}}, 2, true}},
                     256, 32);

  // Wide enough for all threads, with odd sizes to test tails.
  b = Builder({7});
  b.dense(300, "gelu").dropout(0.2).dense(301, "relu", 1e-4).dense(270, "tanh");
  b.dense(3, "linear");
  cases.emplace_back("wide", b, mse, adam({{"global_clipnorm", 0.5}, {"amsgrad", 1.0}}),
                     std::vector<MetricSpec>{{{"r2_score", {}}, 10, false}}, 100, 37,
                     true);

  b = Builder({5});
  b.normalization().dense(37, "silu").dropout(0.3).dense(20, "sin").dense(64, "selu");
  b.dense(9, "snake").softmax().dense(3, "softplus");
  cases.emplace_back(
      "mixed", b, Spec{"huber", {{"delta", 0.7}}},
      optimizer("rmsprop", {{"rho", 0.9},
                            {"momentum", 0.5},
                            {"epsilon", 1e-3},
                            {"centered", 1.0},
                            {"clipnorm", 1.0}}),
      std::vector<MetricSpec>{{{"root_mean_squared_error", {}}, 2, false}}, 100, 9,
      true, false);

  b = Builder({3, 6});
  b.dense(17, "leaky_relu").dense(33, "elu", 0, true).activation("softsign");
  b.dense(300, "gelu").dense(10, "linear");
  cases.emplace_back(
      "sparse", b, Spec{"sparse_categorical_crossentropy", {{"from_logits", 1.0}}},
      optimizer("nadam", {{"beta_1", 0.9}, {"beta_2", 0.999}, {"epsilon", 1e-3}}),
      std::vector<MetricSpec>{{{"sparse_categorical_accuracy", {}}, 2, false}}, 100,
      16);

  b = Builder({31});
  b.dense(257, "sigmoid").dense(1, "sigmoid");
  cases.emplace_back(
      "binary", b,
      Spec{"binary_crossentropy", {{"from_logits", 0.0}, {"label_smoothing", 0.1}}},
      optimizer("adamax", {{"beta_1", 0.9}, {"beta_2", 0.999}, {"epsilon", 1e-3}}),
      std::vector<MetricSpec>{{{"binary_accuracy", {{"threshold", 0.5}}}, 2, true}},
      130, 128);

  b = Builder({4});
  b.dense(19, "tanh").dense(5, "linear").softmax();
  cases.emplace_back("categorical", b,
                     Spec{"categorical_crossentropy",
                          {{"from_logits", 0.0}, {"label_smoothing", 0.2}}},
                     optimizer("adagrad", {{"epsilon", 1e-3}}),
                     std::vector<MetricSpec>{{{"categorical_accuracy", {}}, 2, false}},
                     33, 1);

  b = Builder({2});
  b.dense(600, "softplus").dense(500, "relu").dense(2, "linear");
  cases.emplace_back("large", b, Spec{"log_cosh", {}},
                     optimizer("sgd", {{"momentum", 0.9},
                                       {"nesterov", 1.0},
                                       {"clipvalue", 0.5},
                                       {"weight_decay", 1e-3}}),
                     std::vector<MetricSpec>{}, 300, 150);

  b = Builder({3});
  b.dense(8, "relu").dense(1, "linear");
  cases.emplace_back("tiny", b, Spec{"mean_absolute_error", {}},
                     optimizer("sgd", {{"momentum", 0.0}, {"nesterov", 0.0}}),
                     std::vector<MetricSpec>{}, 20, 5, false, false);

  b = convnet(18, 32, 40);
  cases.emplace_back(
      "convnet", b, sparse_labels(), adam(),
      std::vector<MetricSpec>{{{"sparse_categorical_accuracy", {}}, 2, false}}, 15, 7,
      false, true, true);

  b = pictures();
  cases.emplace_back("pictures", b, mse, adam({{"global_clipnorm", 1.0}}),
                     std::vector<MetricSpec>{}, 14, 8, true);

  b = sequences();
  cases.emplace_back("sequences", b, mse, adam(), std::vector<MetricSpec>{}, 40, 17);

  b = words();
  cases.emplace_back("words", b, Spec{"rows", {}}, adam(), std::vector<MetricSpec>{},
                     40, 17, true, true, true);
  b = recurrences();
  cases.emplace_back("recurrences", b, mse, adam(), std::vector<MetricSpec>{}, 40, 17);
  b = volumes();
  cases.emplace_back("volumes", b, mse, adam(), std::vector<MetricSpec>{}, 15, 7);
  return cases;
}

}  // namespace proofs
