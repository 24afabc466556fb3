#include "graph.h"

#include <algorithm>
#include <set>

namespace kurve {
namespace {

[[noreturn]] void refuse(const std::string& layer, const char* rule) {
  throw std::invalid_argument("[native] the inputs of " + layer + " must " + rule);
}

// Allocates buffer numbers, the lowest free one first.
class SlotAllocator {
 public:
  int take() {
    auto free = std::find(used_.begin(), used_.end(), false);
    if (free == used_.end()) free = used_.insert(used_.end(), false);
    *free = true;
    return int(free - used_.begin());
  }
  void release(int slot) { used_[size_t(slot)] = false; }
  int count() const { return int(used_.size()); }

 private:
  std::vector<bool> used_;
};

// The number of values that come from outside.
int external_count(const Description& d) {
  return int(d.inputs.size() + d.targets.size());
}

// The values that each op reads; in a stack, where none are named, the output of the
// previous op.
std::vector<std::vector<int>> inputs_of(const Description& d) {
  std::vector<std::vector<int>> inputs;
  int first = external_count(d);
  for (size_t i = 0; i < d.ops.size(); i++) {
    const OpSpec& spec = d.ops[i];
    std::vector<int> reads = spec.inputs;
    if (reads.empty()) reads.push_back(i ? first + int(i) - 1 : 0);
    for (int v : reads)
      if (v < 0 || v >= first + int(i)) refuse(spec.layer, "be computed before it.");
    inputs.push_back(std::move(reads));
  }
  return inputs;
}

class GraphBuilder {
 public:
  explicit GraphBuilder(const Description& d) : d_(d), reads_(inputs_of(d)) {
    int first = external_count(d);
    if (!d.targets.empty() && d.targets.size() != d.heads.size())
      throw std::invalid_argument(
          "[native] there must be a target for each output, or none.");
    consumers_.assign(size_t(first) + d.ops.size(), 0);
    for (const auto& reads : reads_)
      for (int v : reads) consumers_[size_t(v)]++;
    for (const Head& head : d.heads) {
      int value = head.value < 0 ? first + int(d.ops.size()) - 1 : head.value;
      if (value < first || value >= int(consumers_.size()))
        throw std::invalid_argument("[native] an output must be computed by an op.");
      consumers_[size_t(value)]++;
      heads_.push_back(value);
      bool by_ops = head.loss && head.loss->kind == "rows";
      if (by_ops != (head.rows != -1) ||
          (by_ops && (head.rows < first || head.rows >= int(consumers_.size()))))
        throw std::invalid_argument(
            "[native] the loss 'rows', and no other, must name rows that an op "
            "computes.");
      if (by_ops) consumers_[size_t(head.rows)]++;
      losses_read_.push_back(by_ops ? head.rows : value);
      for (const MetricSpec& metric : head.metrics) {
        bool reads_rows = metric.kind == "rows";
        if (reads_rows != (metric.rows != -1) ||
            (reads_rows &&
             (metric.rows < first || metric.rows >= int(consumers_.size()))))
          throw std::invalid_argument(
              "[native] the metric 'rows', and no other, must name rows that an op "
              "computes.");
        if (!reads_rows) continue;
        consumers_[size_t(metric.rows)]++;
        metrics_read_.push_back(metric.rows);
      }
    }
  }

  Graph build() {
    add_nodes();
    add_heads();
    find_needed();
    place_outputs();
    place_gradients();
    find_shared();
    return std::move(graph_);
  }

 private:
  // A reshape does not move elements, so it is dropped unless its input and output are
  // both outputs of the plan. A convolution takes over a max-pooling that is its only
  // reader.
  void add_nodes() {
    size_t first = size_t(external_count(d_)), inputs = d_.inputs.size();
    std::vector<int64_t> widths;
    std::vector<char> gives_head;  // whether a node computes an output or a loss's rows
    node_of_.assign(consumers_.size(), 0);
    for (size_t k = 0; k < first; k++) {
      node_of_[k] = -1 - int(k);
      widths.push_back(product_of(k < inputs ? d_.inputs[k] : d_.targets[k - inputs]));
    }
    graph_.reads_target.assign(d_.heads.size(), false);
    for (const auto& reads : reads_)
      for (int v : reads)
        if (size_t(v) >= inputs && size_t(v) < first)
          graph_.reads_target[size_t(v) - inputs] = true;
    for (size_t i = 0; i < d_.ops.size(); i++) {
      const OpSpec& spec = d_.ops[i];
      size_t value = first + i;
      if (spec.more_shapes.size() + 1 != reads_[i].size() ||
          reads_[i].size() > max_inputs)
        refuse(spec.layer, "have a shape each, and be at most 64.");
      for (size_t k = 0; k < reads_[i].size(); k++) {
        const Shape& shape = k ? spec.more_shapes[k - 1] : spec.in_shape;
        if (product_of(shape) != widths[size_t(reads_[i][k])])
          throw std::invalid_argument("[native] the input of " + spec.layer +
                                      " does not fit the op before it.");
      }
      widths.push_back(product_of(spec.out_shape));
      int source = node_of_[size_t(reads_[i][0])];
      bool own = is_head(value) && (source < 0 || gives_head[size_t(source)]);
      if (spec.kind == "reshape" && !own) {
        check_same_shape(spec);
        node_of_[value] = source;
        if (is_head(value)) gives_head[size_t(source)] = true;
        continue;
      }
      OpSource op{spec, d_.params, d_.buffers};
      if (i + 1 < d_.ops.size() && reads_[i + 1] == std::vector<int>{int(value)} &&
          consumers_[value] == 1 && fuses_pool(spec, d_.ops[i + 1])) {
        op.pool = &d_.ops[i + 1];
        widths.push_back(product_of(d_.ops[i + 1].out_shape));
      }
      Node node;
      node.op = make_op(op);
      for (int v : reads_[i]) {
        node.inputs.push_back(node_of_[size_t(v)]);
        node.widths.push_back(widths[size_t(v)]);
      }
      // Only the number of samples matters, which every input has.
      if (spec.kind == "variable" || spec.kind == "random" || spec.kind == "states") {
        node.inputs = {-1};
        node.widths = {widths[0]};
        node.reads_rows_only = true;
      }
      for (const auto& [role, slot] : spec.params)
        if (d_.params[size_t(slot)].trainable) node.trained.push_back(slot);
      node.adds.assign(node.inputs.size(), false);
      node_of_[value] = int(graph_.nodes.size());
      gives_head.push_back(is_head(value) || (op.pool && is_head(value + 1)));
      specs_.push_back(&spec);
      graph_.nodes.push_back(std::move(node));
      if (op.pool) node_of_[value + 1] = node_of_[value], i++;
    }
    if (graph_.nodes.empty())
      throw std::invalid_argument("[native] a plan must have ops.");
  }

  bool is_head(size_t value) const {
    auto among = [&](const std::vector<int>& values) {
      return std::find(values.begin(), values.end(), int(value)) != values.end();
    };
    return among(heads_) || among(losses_read_) || among(metrics_read_);
  }

  void add_heads() {
    for (size_t h = 0; h < heads_.size(); h++) {
      int i = node_of_[size_t(heads_[h])];
      if (i < 0 || graph_.nodes[size_t(i)].head >= 0 ||
          graph_.nodes[size_t(i)].op->out != product_of(d_.heads[h].shape))
        throw std::invalid_argument(
            "[native] each output must be what an op of its own computes.");
      graph_.nodes[size_t(i)].head = int(h);
      graph_.heads.push_back(i);
    }
    for (size_t h = 0; h < heads_.size(); h++) {
      int i = node_of_[size_t(losses_read_[h])];
      graph_.losses.push_back(i);
      if (!d_.heads[h].loss) continue;
      if (i < 0 || graph_.nodes[size_t(i)].gives_loss)
        throw std::invalid_argument(
            "[native] each loss must read what an op of its own computes.");
      graph_.nodes[size_t(i)].gives_loss = true;
    }
    for (const Head& head : d_.heads) {
      std::vector<int>& read = graph_.metrics.emplace_back();
      for (const MetricSpec& metric : head.metrics) {
        read.push_back(metric.rows < 0 ? -1 : node_of_[size_t(metric.rows)]);
        if (metric.rows < 0) continue;
        if (read.back() < 0)
          throw std::invalid_argument(
              "[native] a metric must read what an op computes.");
        graph_.nodes[size_t(read.back())].gives_metric = true;
      }
    }
    for (const Node& node : graph_.nodes) graph_.widths.push_back(node.op->out);
  }

  void find_needed() {
    std::vector<Node>& nodes = graph_.nodes;
    losses_ = std::any_of(d_.heads.begin(), d_.heads.end(),
                          [](const Head& h) { return h.loss != nullptr; });
    std::vector<char> reached(nodes.size(), false);
    for (size_t h = 0; h < heads_.size(); h++)
      if (d_.heads[h].loss || !losses_) reached[size_t(graph_.losses[h])] = true;
    for (size_t i = nodes.size(); i-- > 0;)
      for (int v : nodes[i].inputs)
        if (reached[i] && v >= 0) reached[size_t(v)] = true;
    for (size_t i = 0; i < nodes.size(); i++) {
      bool trains = nodes[i].op->trainable;
      for (int v : nodes[i].inputs) trains = trains || (v >= 0 && depends_(v));
      depends_on_trainable_.push_back(trains);
      nodes[i].needed = trains && reached[i];
    }
  }
  bool depends_(int node) const { return depends_on_trainable_[size_t(node)]; }

  // In inference, ops that are the identity are skipped, so their output is stored
  // where their input is.
  void place_outputs() {
    std::vector<Node>& nodes = graph_.nodes;
    std::vector<int> root(nodes.size());
    std::vector<size_t> last(nodes.size(), 0);
    for (size_t i = 0; i < nodes.size(); i++) {
      int v = nodes[i].inputs[0];
      bool passes = nodes[i].op->identity_at_inference && nodes[i].is_inner();
      root[i] = !passes ? int(i) : v < 0 ? -1 : root[size_t(v)];
      for (int input : nodes[i].inputs)
        if (input >= 0 && root[size_t(input)] >= 0)
          last[size_t(root[size_t(input)])] = i;
    }
    for (size_t i = 0; i < nodes.size(); i++)
      if (!nodes[i].is_inner() && root[i] >= 0) last[size_t(root[i])] = nodes.size();
    SlotAllocator slots;
    std::set<size_t> live;
    for (size_t i = 0; i < nodes.size(); i++) {
      if (root[i] != int(i)) continue;
      for (auto at = live.begin(); at != live.end();)
        if (last[*at] < i) {
          slots.release(nodes[*at].slot);
          nodes[i].released.push_back(nodes[*at].slot);
          at = live.erase(at);
        } else {
          ++at;
        }
      nodes[i].slot = slots.take();
      live.insert(i);
    }
    graph_.slots = std::max(graph_.slots, slots.count());
  }

  void place_gradients() {
    std::vector<Node>& nodes = graph_.nodes;
    std::vector<int> consumers(nodes.size(), 0);
    for (const Node& node : nodes)
      for (int v : node.inputs)
        if (node.needed && v >= 0) consumers[size_t(v)]++;
    SlotAllocator slots;
    std::vector<char> written(nodes.size(), false);
    int max_adds = 0;
    for (size_t h = heads_.size(); h-- > 0;) {
      Node& node = nodes[size_t(graph_.losses[h])];
      if (!node.needed || (losses_ && !d_.heads[h].loss)) continue;
      node.gradient_slot = slots.take();
      written[size_t(graph_.losses[h])] = true;
    }
    for (size_t i = nodes.size(); i-- > 0;) {
      Node& node = nodes[i];
      if (!node.needed) continue;
      int adds = 0;
      for (size_t k = 0; k < node.inputs.size(); k++) {
        int v = node.inputs[k];
        if (v < 0 || !nodes[size_t(v)].needed) continue;
        Node& from = nodes[size_t(v)];
        node.adds[k] = written[size_t(v)];
        adds += node.adds[k];
        if (!written[size_t(v)]) from.gradient_slot = slots.take();
        written[size_t(v)] = true;
        from.defers_derivative =
            consumers[size_t(v)] == 1 && from.is_inner() && node.inputs.size() == 1;
      }
      slots.release(node.gradient_slot);
      max_adds = std::max(max_adds, adds);
    }
    graph_.slots = std::max(graph_.slots, slots.count()) + max_adds;
  }

  void find_shared() {
    std::vector<int> count(d_.params.size(), 0);
    for (const OpSpec* spec : specs_)
      for (const auto& [role, slot] : spec->params) count[size_t(slot)]++;
    std::vector<char> written(d_.params.size(), false);
    for (size_t i = graph_.nodes.size(); i-- > 0;) {
      Node& node = graph_.nodes[i];
      bool again = false;
      std::vector<Node::Use> uses;
      for (const auto& [role, slot] : specs_[i]->params) {
        if (!d_.params[size_t(slot)].trainable) continue;
        graph_.shares = graph_.shares || count[size_t(slot)] > 1;
        if (!node.needed) continue;
        uses.push_back({slot, written[size_t(slot)] != 0});
        again = again || written[size_t(slot)];
        written[size_t(slot)] = true;
      }
      if (again) node.uses = std::move(uses);
    }
    for (size_t slot = 0; slot < d_.params.size(); slot++)
      if (d_.params[slot].trainable && !written[slot])
        graph_.unreached.push_back(int(slot));
  }

  const Description& d_;
  std::vector<std::vector<int>> reads_;
  std::vector<int> consumers_, heads_, losses_read_, metrics_read_;  // values
  std::vector<int> node_of_;                                         // of each value
  std::vector<const OpSpec*> specs_;                                 // of each node
  std::vector<char> depends_on_trainable_;
  bool losses_ = false;  // some head has a loss, so gradients start at the losses
  Graph graph_;
};

}  // namespace

Graph graph_of(const Description& d) { return GraphBuilder(d).build(); }

}  // namespace kurve
