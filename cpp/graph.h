// The ops of a plan in the order that they run in, and what is decided about them once:
// which are left out or fused, where outputs and gradients lie, and where gradients
// add.
#pragma once

#include "program.h"

namespace kurve {

struct Node {
  std::unique_ptr<Op> op;
  // What it reads: the outputs of nodes, or -1 - k for input k of the plan, behind
  // which come its targets.
  std::vector<int> inputs;
  std::vector<int64_t> widths;   // of those, floats per sample
  bool reads_rows_only = false;  // it reads the number of samples, and nothing else
  std::vector<int> trained{};    // its trainable variables
  int head = -1;                 // the output of the plan that it computes
  bool gives_loss = false;       // a loss reads its output
  bool gives_metric = false;     // or a metric
  bool is_inner() const { return head < 0 && !gives_loss && !gives_metric; }

  // Numbers of shared buffers: of its output in inference, of its output's gradient in
  // training. Buffers are taken again as soon as nobody reads them any more.
  int slot = -1, gradient_slot = -1;
  std::vector<int> given_back;  // those that nobody reads any more when it begins

  // Whether the gradient of its output is wanted: the loss depends on it, and it
  // depends on a trainable variable.
  bool needed = false;
  // Its one consumer multiplies with its derivative, while the numbers are in
  // registers.
  bool defers_derivative = false;
  // Per input: whether a gradient lies there already, which this node's is added to.
  std::vector<char> adds;

  // The trainable variables that a node behind this one uses too: backward has written
  // their gradients already, and this one's are added.
  struct Use {
    int slot;
    bool adds;
  };
  std::vector<Use> uses;  // empty where backward may write where gradients belong
};

constexpr size_t most_inputs = 64;  // of a node
constexpr size_t most_heads = 64;

struct Graph {
  std::vector<Node> nodes;
  std::vector<int> heads;   // the node of each
  std::vector<int> losses;  // per head, the node that its loss reads, if it has one
  std::vector<std::vector<int>> metrics;  // likewise, per head and metric; -1: none
  std::vector<int64_t> widths;            // of all nodes' outputs, floats per sample
  std::vector<char> reads_target;         // whether an op reads a head's target
  int slots = 2;        // shared buffers, the last ones for gradients to be added
  bool shares = false;  // some trainable variable is used twice
  std::vector<int> unreached;  // trainable variables that the loss does not depend on
};

Graph graph_of(const Description&);

}  // namespace kurve
