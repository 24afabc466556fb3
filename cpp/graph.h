// The ops of a plan in execution order, and what is decided about them once: which are
// dropped or fused, where outputs and gradients are stored, and where gradients are
// added.
#pragma once

#include "program.h"

namespace kurve {

struct Node {
  std::unique_ptr<Op> op;
  // What it reads: the outputs of nodes, or -1 - k for input k of the plan; the plan's
  // targets are counted after its inputs.
  std::vector<int> inputs;
  std::vector<int64_t> widths;   // of those, floats per sample
  bool reads_rows_only = false;  // it reads only the number of samples
  std::vector<int> trained{};    // its trainable variables
  int head = -1;                 // the plan's output that it computes
  bool gives_loss = false;       // a loss reads its output
  bool gives_metric = false;     // or a metric
  bool is_inner() const { return head < 0 && !gives_loss && !gives_metric; }

  // Numbers of shared buffers: for its output in inference, for its output's gradient
  // in training. A buffer is reused as soon as its last reader is done.
  int slot = -1, gradient_slot = -1;
  std::vector<int> released;  // buffers without readers from this node on

  // Whether the gradient of its output is needed: the loss depends on it, and it
  // depends on a trainable variable.
  bool needed = false;
  // Its only consumer multiplies by its derivative while the numbers are in registers.
  bool defers_derivative = false;
  // Per input: whether this node's gradient is added to one that is already there.
  std::vector<char> adds;

  // The trainable variables that a later node uses too. Backward has already written
  // their gradients, and this node's are added.
  struct Use {
    int slot;
    bool adds;
  };
  std::vector<Use> uses;  // empty if backward may write gradients in place
};

constexpr size_t max_inputs = 64;  // of a node
constexpr size_t max_heads = 64;

struct Graph {
  std::vector<Node> nodes;
  std::vector<int> heads;   // the node of each
  std::vector<int> losses;  // per head, the node that its loss reads, if it has one
  std::vector<std::vector<int>> metrics;  // likewise, per head and metric; -1: none
  std::vector<int64_t> widths;            // of all nodes' outputs, floats per sample
  std::vector<char> reads_target;         // per head: whether an op reads its target
  int slots = 2;  // shared buffers; the last ones hold gradients that are to be added
  bool shares = false;         // some trainable variable is used more than once
  std::vector<int> unreached;  // trainable variables that the loss does not depend on
};

Graph graph_of(const Description&);

}  // namespace kurve
