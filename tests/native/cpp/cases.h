// The models that the driver runs: every op, activation, loss and optimizer once.
#pragma once

#include <list>

#include "models.h"

namespace proofs {

// 1 -> 7 x 256 relu -> 1: the article's.
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

inline std::list<Case> all_cases() {
  const Spec mse{"mean_squared_error", {}};
  std::list<Case> cases;
  Builder b = article();
  cases.emplace_back("article", b, mse, adam(), std::vector<MetricSpec>{}, 200, 20);
  b = small();
  cases.emplace_back("small", b, mse, adam(),
                     std::vector<MetricSpec>{{{"mean_absolute_error", {}}, 2, true}},
                     256, 32);

  // Wide enough for every thread; odd sizes, so that there are tails.
  b = Builder({7});
  b.dense(300, "gelu").dropout(0.2).dense(301, "relu", 1e-4).dense(270, "tanh");
  b.dense(3, "linear");
  cases.emplace_back("wide", b, mse, adam({{"global_clipnorm", 0.5}, {"amsgrad", 1.0}}),
                     std::vector<MetricSpec>{{{"r2_score", {}}, 10, false}}, 200, 37,
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
                     std::vector<MetricSpec>{}, 700, 350);

  b = Builder({3});
  b.dense(8, "relu").dense(1, "linear");
  cases.emplace_back("tiny", b, Spec{"mean_absolute_error", {}},
                     optimizer("sgd", {{"momentum", 0.0}, {"nesterov", 0.0}}),
                     std::vector<MetricSpec>{}, 20, 5, false, false);
  return cases;
}

}  // namespace proofs
