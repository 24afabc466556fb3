// A loop: in each iteration, the ops of its body read an element of each sequence and
// the states.
#include "graph.h"
#include "pool.h"
#include "stop_token.h"

namespace kurve {
namespace {

// Up to this many floats per sample, forward saves what backward reads of all
// iterations; otherwise backward recomputes each iteration.
constexpr int64_t max_saved = 1 << 18;

int64_t rounded(int64_t n) { return (n + 15) / 16 * 16; }

// Copies `width` floats of each of n rows.
void copy_columns(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                  int64_t n, int64_t width) {
  for (int64_t b = 0; b < n; b++)
    std::copy_n(from + b * from_stride, width, to + b * to_stride);
}

class Scan : public Op {
 public:
  explicit Scan(const OpSource& source) {
    const OpSpec& spec = source.spec;
    if (!spec.body) refuse_shapes(spec, "a loop, which has a body");
    const BodySpec& body = *spec.body;
    steps_ = integer(spec.attrs, "turns", 1);
    sequences_ = size_t(integer(spec.attrs, "moving", 0, double(max_inputs)));
    carried_ = size_t(integer(spec.attrs, "carried", 0, double(max_inputs)));
    reverse_ = number(spec.attrs, "reverse") != 0;
    all_ = number(spec.attrs, "sequences") != 0;
    gives_states_ = number(spec.attrs, "states") != 0;
    if (body.outputs.size() != carried_ + 1 ||
        body.inputs.size() != spec.more_shapes.size() + 1 ||
        sequences_ + carried_ > body.inputs.size() || body.inputs.size() > max_inputs)
      refuse_shapes(spec, "its body");
    make_graph(source, body);
    for (size_t k = 0; k < body.inputs.size(); k++) {
      int64_t width = product_of(body.inputs[k]);
      const Shape& shape = k ? spec.more_shapes[k - 1] : spec.in_shape;
      bool is_sequence = k < sequences_,
           is_state = !is_sequence && k < sequences_ + carried_;
      if (product_of(shape) != width * (is_sequence ? steps_ : 1))
        refuse_shapes(spec, "the inputs of its body");
      if (is_state && node_at(head_of_[1 + k - sequences_]).op->out != width)
        refuse_shapes(spec, "its states");
      widths_.push_back(width);
      offsets_.push_back(is_sequence ? sequences_size_ : is_state ? carried_size_ : 0);
      if (is_sequence) sequences_size_ += width;
      if (is_state) carried_size_ += width;
    }
    y_size_ = node_at(head_of_[0]).op->out;
    int64_t size = y_size_ * (all_ ? steps_ : 1) + (gives_states_ ? carried_size_ : 0);
    if (product_of(spec.out_shape) != size) refuse_shapes(spec, "its output");
    params_size_ = vector_size(source.params);
    for (const Node& node : graph_.nodes) {
      iteration_work_ =
          std::min<int64_t>(iteration_work_ + node.op->work + node.op->out, 1 << 30);
      iteration_per_sample_ +=
          node.op->out * (1 + node.op->saves) + node.op->aux_per_sample;
      iteration_per_batch_ += 32 + node.op->aux_per_batch;
      int64_t reads = node.op->out;
      for (int64_t width : node.widths) reads += width;
      max_read_ = std::max(max_read_, reads);
      for (int slot : node.trained)
        slots_.push_back({slot, source.params[size_t(slot)]});
      if (node.op->fixed_rows) refuse_shapes(spec, "a loop, which has no such states");
    }
    std::sort(slots_.begin(), slots_.end(),
              [](const Slot& a, const Slot& b) { return a.number < b.number; });
    auto same = [](const Slot& a, const Slot& b) { return a.number == b.number; };
    slots_.erase(std::unique(slots_.begin(), slots_.end(), same), slots_.end());
    trainable = !slots_.empty();
    if (trainable) rows = never_fused;
    work = work_of({steps_, iteration_work_});
    saves_all_ = iteration_per_sample_ <= max_saved / steps_;
    aux_per_sample = (steps_ + 1) * carried_size_;
    aux_per_batch = 32;
    if (saves_all_) {
      aux_per_sample += steps_ * iteration_per_sample_;
      aux_per_batch += steps_ * iteration_per_batch_;
    }
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    forward_many(ctx, &x, y, saved);
  }

  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    Memory m(*this, ctx, y, false);
    for (size_t s = 0; s < carried_; s++)
      copy(x[sequences_ + s], ctx.batch * widths_[sequences_ + s],
           m.carried_at(0) + ctx.batch * offsets_[sequences_ + s]);
    for (int64_t t = 0; t < steps_; t++) {
      if (stop_requested(ctx.batch * iteration_work_)) return;
      run_iteration(ctx, m, x, t);
      if (stopped()) return;
      for (size_t s = 0; s < carried_; s++)
        copy(m.values[size_t(head_of_[1 + s])], ctx.batch * widths_[sequences_ + s],
             m.carried_at(t + 1) + ctx.batch * offsets_[sequences_ + s]);
      if (all_ || t == steps_ - 1)
        copy_columns(m.values[size_t(head_of_[0])], y_size_,
                     y + (all_ ? t * y_size_ : 0), out, ctx.batch, y_size_);
    }
    if (!gives_states_) return;
    float* to = y + y_size_ * (all_ ? steps_ : 1);
    for (size_t k = sequences_; k < sequences_ + carried_; k++)
      copy_columns(m.carried_at(steps_) + ctx.batch * offsets_[k], widths_[k],
                   to + offsets_[k], out, ctx.batch, widths_[k]);
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    backward_through_time(ctx, &x, y, dz, &dx, nullptr, 0);
    if (dx) differentiate(ctx.kernels, before, dx, dx, ctx.batch * in);
  }
  void backward_many(const ExecContext& ctx, const float* const* x, const float* y,
                     const float* dz, float* const* dx) const override {
    backward_through_time(ctx, x, y, dz, dx, nullptr, 0);
  }
  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    jacobian_many(ctx, &x, y, dz, to, stride);
  }
  void jacobian_many(const ExecContext& ctx, const float* const* x, const float* y,
                     const float* dz, float* to, int64_t stride) const override {
    if (!trainable) return;
    std::vector<float*> none(widths_.size(), nullptr);
    backward_through_time(ctx, x, y, dz, none.data(), to, stride);
  }

  int64_t scratch(const Kernels& kernels, int64_t batch, bool training) const override {
    ExecContext ctx{kernels, nullptr, nullptr};
    ctx.batch = batch;
    ctx.saves = training;
    return std::max(Memory(*this, ctx, nullptr, false).size,
                    training ? Memory(*this, ctx, nullptr, true).size : 0);
  }

 private:
  struct Slot {
    int number;
    VariableSpec spec;
  };

  const Node& node_at(int i) const { return graph_.nodes[size_t(i)]; }

  void make_graph(const OpSource& source, const BodySpec& body) {
    Description d{body.inputs, body.ops, source.params, source.buffers, {}};
    int first = int(body.inputs.size());
    std::vector<int> numbers;  // of the heads, without duplicates
    for (int value : body.outputs) {
      auto found = std::find(numbers.begin(), numbers.end(), value);
      head_of_.push_back(int(found - numbers.begin()));
      if (found != numbers.end()) continue;
      if (value < first || value >= first + int(body.ops.size()))
        refuse_shapes(source.spec, "the outputs of its body");
      numbers.push_back(value);
      d.heads.push_back({value, body.ops[size_t(value - first)].out_shape});
    }
    check(d);
    graph_ = graph_of(d);
    for (int& head : head_of_) head = graph_.heads[size_t(head)];
  }

  // The memory of a call: after y, or in ctx.scratch.
  struct Memory {
    Memory(const Scan& op, const ExecContext& ctx, float* y, bool back)
        : op(op), batch(ctx.batch), saves(ctx.saves) {
      size_t nodes = op.graph_.nodes.size();
      float* aux = y ? y + rounded(batch * op.out) : nullptr;
      bool base = ctx.scratch != nullptr;
      auto allot = [&](int64_t n) {
        float* part = base ? ctx.scratch + size : nullptr;
        size += rounded(n);
        return part;
      };
      int64_t states = batch * op.carried_size_;
      iteration_size = batch * op.iteration_per_sample_ + op.iteration_per_batch_;
      carried = saves ? aux : allot(2 * states);
      if (saves && op.saves_all_)
        iterations = aux ? aux + rounded((op.steps_ + 1) * states) : nullptr;
      else
        iterations = allot(iteration_size), iteration_size = 0;
      sequences = allot(batch * op.sequences_size_);
      int64_t most = 0;
      for (const Node& node : op.graph_.nodes)
        most = std::max(most, node.op->scratch(ctx.kernels, batch, saves));
      scratch = allot(most);
      if (back) {
        for (float*& d : d_carried) d = allot(states);
        d_sequences = allot(batch * op.sequences_size_);
        spare = allot(batch * op.max_read_ + 16 * int64_t(max_inputs));
        gradient = allot(op.params_size_);
        for (const Node& node : op.graph_.nodes)
          d_out.push_back(allot(batch * node.op->out));
      }
      values.resize(nodes);
      out.resize(nodes), saved.resize(nodes);
    }
    float* carried_at(int64_t t) const {
      return carried + (saves ? t : t % 2) * batch * op.carried_size_;
    }
    // Sets the pointers to the outputs of an iteration's nodes.
    void use_iteration(int64_t t) {
      float* at = iterations + t * iteration_size;
      for (size_t i = 0; i < out.size(); i++) {
        const Op& node = *op.graph_.nodes[i].op;
        out[i] = at;
        at += rounded(batch * (node.out + (saves ? node.aux_per_sample : 0)) +
                      (saves ? node.aux_per_batch : 0));
        saved[i] = saves && node.saves ? at : nullptr;
        if (saved[i]) at += rounded(batch * node.out);
      }
    }

    const Scan& op;
    int64_t batch, iteration_size = 0, size = 0;
    bool saves;
    float *carried = nullptr, *iterations = nullptr, *sequences = nullptr,
          *scratch = nullptr, *d_sequences = nullptr, *spare = nullptr,
          *gradient = nullptr;
    float* d_carried[2] = {nullptr, nullptr};
    std::vector<float*> out, saved, d_out;
    std::vector<const float*> values;
  };

  // The element of the sequences that iteration t reads.
  int64_t element(int64_t t) const { return reverse_ ? steps_ - 1 - t : t; }

  ExecContext context_of(const ExecContext& ctx, const Memory& m, int64_t t) const {
    ExecContext own = ctx;
    own.step += uint64_t(t) << 32;  // different random numbers in each iteration
    own.scratch = m.scratch;
    own.states = nullptr;
    own.gradient = ctx.gradient ? m.gradient : nullptr;
    return own;
  }

  // The value that a node of the body reads in iteration t.
  const float* value_at(const Memory& m, const float* const* x, int64_t t,
                        int input) const {
    if (input >= 0) return m.values[size_t(input)];
    size_t k = size_t(-1 - input);
    if (k < sequences_) return m.sequences + m.batch * offsets_[k];
    if (k < sequences_ + carried_) return m.carried_at(t) + m.batch * offsets_[k];
    return x[k];
  }

  void gather(const Memory& m, const float* const* x, int64_t t) const {
    for (size_t k = 0; k < sequences_; k++)
      copy_columns(x[k] + element(t) * widths_[k], steps_ * widths_[k],
                   m.sequences + m.batch * offsets_[k], widths_[k], m.batch,
                   widths_[k]);
  }

  void run_iteration(const ExecContext& ctx, Memory& m, const float* const* x,
                     int64_t t) const {
    ExecContext own = context_of(ctx, m, t);
    gather(m, x, t);
    m.use_iteration(t);
    for (size_t i = 0; i < graph_.nodes.size(); i++) {
      const Node& node = graph_.nodes[i];
      const float* xs[max_inputs];
      for (size_t k = 0; k < node.inputs.size(); k++)
        xs[k] = value_at(m, x, t, node.inputs[k]);
      m.values[i] = m.out[i];
      if (node.op->identity_at_inference && !ctx.training && !ctx.saves)
        m.values[i] = xs[0];
      else if (node.inputs.size() == 1)
        node.op->forward(own, xs[0], m.out[i], m.saved[i]);
      else
        node.op->forward_many(own, xs, m.out[i], m.saved[i]);
    }
  }

  // The chain rule through all iterations, starting with the last; with `jacobian`, to
  // each sample's own gradient.
  void backward_through_time(const ExecContext& ctx, const float* const* x,
                             const float* y, const float* dz, float* const* dx,
                             float* jacobian, int64_t stride) const {
    Memory m(*this, ctx, const_cast<float*>(y), true);
    BackwardPass pass{*this, ctx, m, x, dx, jacobian, stride};
    pass.find_wanted();
    if (ctx.gradient)
      for (const Slot& slot : slots_)
        std::fill_n(ctx.gradient + slot.spec.offset, slot.spec.size(), 0.0f);
    const float* d_states = dz + y_size_ * (all_ ? steps_ : 1);
    for (size_t k = sequences_; k < sequences_ + carried_; k++) {
      float* to = m.d_carried[steps_ % 2] + ctx.batch * offsets_[k];
      if (gives_states_)
        copy_columns(d_states + offsets_[k], out, to, widths_[k], ctx.batch,
                     widths_[k]);
      else
        clear(to, ctx.batch * widths_[k]);
    }
    for (int64_t t = steps_; t-- > 0;) {
      if (stop_requested(3 * ctx.batch * iteration_work_)) return;
      if (!saves_all_) {
        run_iteration(ctx, m, x, t);
      } else {
        gather(m, x, t);
        m.use_iteration(t);
        std::copy(m.out.begin(), m.out.end(), m.values.begin());
      }
      pass.begin(t, all_ || t == steps_ - 1 ? dz + (all_ ? t * y_size_ : 0) : nullptr);
      pass.iteration(t);
      if (stopped()) return;
    }
    for (size_t k = 0; k < widths_.size(); k++) {
      if (k < sequences_ || !dx[k]) continue;
      int64_t n = ctx.batch * widths_[k];
      if (k < sequences_ + carried_)
        copy(m.d_carried[0] + ctx.batch * offsets_[k], n, dx[k]);
      else if (!pass.constants[k])
        clear(dx[k], n);
    }
    if (!ctx.gradient) return;
    for (const Slot& slot : slots_)
      check_overflow(ctx, ctx.gradient + slot.spec.offset, slot.spec.size(),
                     slot.number);
  }

  struct BackwardPass {
    const Scan& op;
    const ExecContext& ctx;
    Memory& m;
    const float* const* x;
    float* const* dx;
    float* jacobian;
    int64_t stride;
    std::vector<char> needed{}, written{}, inputs{}, constants{};

    bool wants(size_t k) const {
      return (k >= op.sequences_ && k < op.sequences_ + op.carried_) || dx[k];
    }
    void find_wanted() {
      constants.assign(op.widths_.size(), false);
      for (const Node& node : op.graph_.nodes) {
        bool any = node.op->trainable && (ctx.gradient || jacobian);
        for (int v : node.inputs)
          any = any || (!node.reads_rows_only &&
                        (v < 0 ? wants(size_t(-1 - v)) : needed[size_t(v)] != 0));
        needed.push_back(any);
      }
    }

    // Adds (batch, width) to a node's gradient, from rows that are `from_stride` apart.
    void add(int node, const float* from, int64_t from_stride, int64_t width) {
      float* to = m.d_out[size_t(node)];
      if (!written[size_t(node)]) {
        copy_columns(from, from_stride, to, width, ctx.batch, width);
      } else {
        copy_columns(from, from_stride, m.spare, width, ctx.batch, width);
        add_to(ctx.kernels, m.spare, to, ctx.batch * width);
      }
      written[size_t(node)] = true;
    }

    // Starts with the gradients of an iteration's output, if it has one, and of its new
    // states.
    void begin(int64_t t, const float* dy) {
      written.assign(op.graph_.nodes.size(), false);
      inputs.assign(op.widths_.size(), false);
      if (dy) add(op.head_of_[0], dy, op.out, op.y_size_);
      for (size_t s = 0; s < op.carried_; s++) {
        int64_t width = op.widths_[op.sequences_ + s];
        const float* from = m.d_carried[(t + 1) % 2];
        add(op.head_of_[1 + s], from + ctx.batch * op.offsets_[op.sequences_ + s],
            width, width);
      }
    }

    // Where the gradient of value v belongs, and whether something is already there.
    std::pair<float*, char*> gradient_of(int64_t t, int v) {
      if (v >= 0) {
        bool wanted = needed[size_t(v)];
        return {wanted ? m.d_out[size_t(v)] : nullptr, &written[size_t(v)]};
      }
      size_t k = size_t(-1 - v);
      if (!wants(k)) return {nullptr, &inputs[k]};
      int64_t at = ctx.batch * op.offsets_[k];
      if (k < op.sequences_) return {m.d_sequences + at, &inputs[k]};
      if (k < op.sequences_ + op.carried_) return {m.d_carried[t % 2] + at, &inputs[k]};
      return {dx[k], &constants[k]};
    }

    void iteration(int64_t t) {
      ExecContext own = op.context_of(ctx, m, t);
      for (size_t i = op.graph_.nodes.size(); i-- > 0;) {
        const Node& node = op.graph_.nodes[i];
        if (!needed[i] || !written[i]) continue;
        float* dz = m.d_out[i];
        differentiate(ctx.kernels, node.op->derivative(m.out[i], m.saved[i]), dz, dz,
                      ctx.batch * node.op->out);
        const float* xs[max_inputs];
        for (size_t k = 0; k < node.inputs.size(); k++)
          xs[k] = op.value_at(m, x, t, node.inputs[k]);
        if (jacobian) add_jacobian(own, node, xs, m.out[i], dz);
        back(own, node, xs, i, t);
        for (int slot : own.gradient ? node.trained : std::vector<int>{}) {
          const VariableSpec& s = op.slot_of(slot);
          add_to(ctx.kernels, own.gradient + s.offset, ctx.gradient + s.offset,
                 s.size());
        }
      }
      for (size_t k = 0; k < op.sequences_ + op.carried_; k++) {
        auto [at, written_there] = gradient_of(t, -1 - int(k));
        if (!at) continue;
        if (!*written_there) clear(at, ctx.batch * op.widths_[k]);
        if (k < op.sequences_)
          copy_columns(at, op.widths_[k], dx[k] + op.element(t) * op.widths_[k],
                       op.steps_ * op.widths_[k], ctx.batch, op.widths_[k]);
      }
    }

    void back(const ExecContext& own, const Node& node, const float* const* xs,
              size_t i, int64_t t) {
      size_t count = node.inputs.size();
      float *to[max_inputs], *sums[max_inputs] = {}, *spare = m.spare;
      for (size_t k = 0; k < count; k++) {
        auto [at, there] = gradient_of(t, node.inputs[k]);
        to[k] = node.reads_rows_only ? nullptr : at;
        if (!to[k]) continue;
        if (*there) {
          sums[k] = at, to[k] = spare;
          spare += rounded(ctx.batch * node.widths[k]);
        }
        *there = true;
      }
      if (count == 1)
        node.op->backward(own, xs[0], m.out[i], m.d_out[i], to[0], {});
      else
        node.op->backward_many(own, xs, m.out[i], m.d_out[i], to);
      for (size_t k = 0; k < count; k++)
        if (sums[k]) add_to(ctx.kernels, to[k], sums[k], ctx.batch * node.widths[k]);
    }

    void add_jacobian(const ExecContext& own, const Node& node, const float* const* xs,
                      const float* y, const float* dz) {
      if (node.trained.empty()) return;
      std::vector<float> each(size_t(ctx.batch * op.params_size_));
      node.op->jacobian_many(own, xs, y, dz, each.data(), op.params_size_);
      for (int slot : node.trained) {
        const VariableSpec& s = op.slot_of(slot);
        for (int64_t b = 0; b < ctx.batch; b++)
          for (int64_t k = s.offset; k < s.offset + s.size(); k++)
            jacobian[b * stride + k] += each[size_t(b * op.params_size_ + k)];
      }
    }
  };

  const VariableSpec& slot_of(int number) const {
    return std::find_if(slots_.begin(), slots_.end(),
                        [&](const Slot& s) { return s.number == number; })
        ->spec;
  }

  Graph graph_;
  std::vector<int> head_of_;  // the nodes of the output and of the new states
  int64_t steps_;
  size_t sequences_, carried_;  // inputs are sequences, then states, then constants
  bool reverse_, all_, gives_states_, saves_all_;
  std::vector<int64_t> widths_;   // of the body's inputs
  std::vector<int64_t> offsets_;  // offset among the sequences, or among the states
  int64_t sequences_size_ = 0, carried_size_ = 0, y_size_ = 0, params_size_ = 0;
  int64_t iteration_work_ = 0, iteration_per_sample_ = 0, iteration_per_batch_ = 0;
  int64_t max_read_ = 0;     // floats read by a node
  std::vector<Slot> slots_;  // the trainable variables
};

}  // namespace

std::unique_ptr<Op> make_scan(const OpSource& source) {
  return std::make_unique<Scan>(source);
}

}  // namespace kurve
