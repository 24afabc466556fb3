// Recurrent cells over all steps of sequences.
#include "kernels/recurrent.h"

#include <algorithm>

#include "ops.h"
#include "pool.h"

namespace kurve {
namespace {

bool is_on(const Attrs& attrs, const char* name) {
  return attrs.count(name) && number(attrs, name) != 0;
}

// The activation of a name and its alpha, 0 if not given.
std::pair<Activation, float> activation_of(const Attrs& attrs, const char* name,
                                           const char* alpha) {
  const std::string& kind = text(attrs, name);
  std::optional<Activation> found = kind_named<Activation>(kind);
  if (!found) throw Unsupported("activation", kind);
  return {*found, attrs.count(alpha) ? float(number(attrs, alpha)) : 0.0f};
}

// A thread takes a block of rows through all steps, forward and later backward; sums
// over rows are computed afterwards, as products over all rows and steps. Formulas:
// kurve.engines.reference.recurrence.
class Recurrent : public Op {
 public:
  Recurrent(const OpSource& source, CellKind kind) {
    const OpSpec& spec = source.spec;
    const Attrs& attrs = spec.attrs;
    if (spec.in_shape.size() != 2) refuse_shapes(spec, "a sequence (T, F)");
    W_ = variable_of(source, "kernel"), U_ = variable_of(source, "recurrent_kernel");
    if (spec.params.count("bias")) b_ = variable_of(source, "bias");
    cell_.kind = kind;
    cell_.T = spec.in_shape[0], cell_.F = spec.in_shape[1];
    cell_.H = U_.shape.empty() ? 0 : U_.shape[0];
    cell_.reverse = is_on(attrs, "reverse");
    cell_.sequences = is_on(attrs, "sequences");
    cell_.states = is_on(attrs, "states");
    std::tie(cell_.activation, cell_.alpha) =
        activation_of(attrs, "activation", "alpha");
    if (kind != CellKind::simple)
      std::tie(cell_.recurrent_activation, cell_.recurrent_alpha) =
          activation_of(attrs, "recurrent_activation", "recurrent_alpha");
    check_shapes(spec);
    trainable = W_.trains || U_.trains || b_.trains;
    if (trainable) rows = never_fused;
    min_part = 16;
    work = work_of({cell_.T, cell_.F + cell_.H, cell_.width()});
    int64_t padded = cell_.padded(), steps = cell_.T;
    aux_per_sample = steps * padded * (cell_.saved_vectors() + cell_.copies) +
                     (masked_ ? steps : 0) + (dropped_ ? cell_.copies * cell_.H : 0);
    aux_per_batch = 16;
  }

  void forward(const ExecContext& ctx, const float* x, float* y,
               float* saved) const override {
    forward_many(ctx, &x, y, saved);
  }

  void forward_many(const ExecContext& ctx, const float* const* x, float* y,
                    float*) const override {
    Recurrence p = cell_;
    int64_t next = 1;
    p.x = x[0], p.y = y;
    if (masked_) p.mask = x[next++];
    if (initial_) p.h0 = x[next++];
    if (initial_ && p.kind == CellKind::lstm) p.c0 = x[next++];
    if (dropped_) p.factors = x[next];
    if (ctx.saves) {
      Aux aux = aux_of(ctx, y);
      p.saved = aux.saved, p.h_in = aux.h_in;
      if (masked_) copy(p.mask, ctx.batch * p.T, aux.mask);
      if (dropped_) copy(p.factors, ctx.batch * p.copies * p.H, aux.factors);
    }
    const RecurrentKernels& kernels = *ctx.kernels.recurrent;
    float* packed = ctx.scratch;
    p.packed = packed, p.local = packed + kernels.packed_size(p);
    parallel(kernels.pack_tasks(p), (p.F + p.H) * p.width() * 4, [&](int64_t task) {
      kernels.pack(p, ctx.params + W_.offset, ctx.params + U_.offset,
                   b_.slot < 0 ? nullptr : ctx.params + b_.offset, packed, task);
    });
    in_blocks(ctx,
              [&](int64_t first, int64_t count) { kernels.forward(p, first, count); });
  }

  int64_t scratch(const Kernels& table, int64_t batch, bool training) const override {
    const RecurrentKernels& kernels = *table.recurrent;
    int64_t forward =
        kernels.packed_size(cell_) + batch * kernels.local_size(cell_, false);
    if (!training) return forward;
    return std::max(forward, Parts(*this, kernels, batch, nullptr).size);
  }

  void backward(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* dx, const Derivative& before) const override {
    run_backward(ctx, x, y, dz, &dx, 1, before);
  }

  void backward_many(const ExecContext& ctx, const float* const* x, const float* y,
                     const float* dz, float* const* dx) const override {
    run_backward(ctx, x[0], y, dz, dx, inputs_, {});
  }

  void jacobian(const ExecContext& ctx, const float* x, const float* y, const float* dz,
                float* to, int64_t stride) const override {
    if (!trainable) return;
    const Recurrence& c = cell_;
    Parts parts(*this, *ctx.kernels.recurrent, ctx.batch, ctx.scratch);
    scan_backward(ctx, y, dz, parts, nullptr, nullptr);
    Recurrence at = positions(ctx, x, y, parts);
    parallel(ctx.batch, ctx.batch * work, [&](int64_t b) {
      Recurrence one = at;
      int64_t steps = b * c.T;
      one.x += steps * c.F, one.h_in += steps * c.copies * c.padded();
      one.dz += steps * c.dz_width();
      std::vector<float> gates;
      if (one.reset) one.reset += steps * c.padded();
      if (in_parts(c)) gates.resize(size_t(c.H * c.width()));
      Sums sums(*this, one, c.T, to + b * stride, gates.data());
      for (const Sum& sum : sums.products)
        for (int64_t task = 0; task < ctx.kernels.product_tasks(sum.product); task++)
          ctx.kernels.product(sum.product, task);
      for (const Column& column : sums.columns)
        ctx.kernels.sum_rows(column.from, c.T, c.dz_width(), 0, column.count,
                             column.to);
      sums.assemble(c, to + b * stride + U_.offset);
    });
  }

 private:
  struct Variable {
    int slot = -1;
    int64_t offset = 0;
    bool trains = false;
    Shape shape{};
  };
  struct Aux {
    float *saved, *h_in, *mask, *factors;
  };
  // A fixed-capacity list without allocation: an allocation that failed in the middle
  // of a step would leave a changed model.
  template <class T, int most>
  struct Few {
    void push_back(const T& item) { items[n++] = item; }
    void clear() { n = 0; }
    const T* begin() const { return items; }
    const T* end() const { return items + n; }
    size_t size() const { return size_t(n); }
    const T& operator[](size_t i) const { return items[i]; }
    T items[most];
    int n = 0;
  };
  // A sum over all rows that is part of a variable's gradient.
  struct Sum {
    Product product;
    int slot;  // or -1: a part that `assemble` copies later
  };
  struct Column {
    const float* from;
    int64_t count;
    float* to;
  };

  // The parts of ctx.scratch that backward needs.
  struct Parts {
    Parts(const Recurrent& op, const RecurrentKernels& kernels, int64_t batch,
          float* base) {
      const Recurrence& c = op.cell_;
      auto allot = [&](int64_t n) {
        float* part = base ? base + size : nullptr;
        size += (n + 15) / 16 * 16;
        return part;
      };
      int64_t steps = batch * c.T, all = c.H * c.width();
      transposed = allot(kernels.transposed_size(c));
      local = allot(batch * kernels.local_size(c, true));
      dz = allot(steps * c.dz_width());
      if (c.kind == CellKind::gru_before) reset = allot(steps * c.padded());
      if (in_parts(c)) gates = allot(all);
      if (steps > longest_product)
        sums = allot(scratch_for_parts(std::max(c.F, c.H) * c.width()));
    }
    float *transposed, *local, *dz, *reset = nullptr, *gates = nullptr, *sums = nullptr;
    int64_t size = 0;
  };

  // Whether dU is computed in parts, because gates are multiplied by different h or
  // their dz are not adjacent; and the columns of each part.
  static bool in_parts(const Recurrence& c) {
    return c.kind == CellKind::gru || c.kind == CellKind::gru_before || c.copies > 1;
  }
  static int64_t part_columns(const Recurrence& c, int64_t part) {
    return c.copies > 1 || part > 0 ? c.H : 2 * c.H;
  }

  // The gradients as sums over rows: products, and sums of columns.
  struct Sums {
    Sums(const Recurrent& op, const Recurrence& at, int64_t steps, float* gradient,
         float* room) {
      int64_t width = at.width(), padded = at.padded(), H = at.H;
      auto add = [&](int slot, const float* a, int64_t a_step, int64_t M,
                     const float* dz, int64_t N, float* to) {
        products.push_back({Product{.a = a,
                                    .a_row = 1,
                                    .a_step = a_step,
                                    .b = dz,
                                    .b_row = at.dz_width(),
                                    .b_transposed = false,
                                    .c = to,
                                    .M = M,
                                    .N = N,
                                    .K = steps,
                                    .after = Product::check,
                                    .stop_requested = stop_requested},
                            slot});
      };
      if (op.W_.trains)
        add(op.W_.slot, at.x, at.F, at.F, at.dz_x(), width, gradient + op.W_.offset);
      if (op.U_.trains && !in_parts(at))
        add(op.U_.slot, at.h_in, padded, H, at.dz, width, gradient + op.U_.offset);
      if (op.U_.trains && in_parts(at)) {
        gates = room;
        bool before = at.kind == CellKind::gru_before;
        for (int64_t first = 0, i = 0; first < width; first += part_columns(at, i++)) {
          const float *dz = at.dz + at.dz_at(first), *h = at.h_in;
          int64_t step = at.copies * padded;
          if (at.copies > 1) h += i * padded;
          if (before && first == 2 * H) h = at.reset, step = padded;
          add(-1, h, step, H, dz, part_columns(at, i), gates + H * first);
        }
      }
      if (!op.b_.trains) return;
      bias = gradient + op.b_.offset;
      columns.push_back({at.dz_x(), width, bias});
      if (at.kind == CellKind::gru) columns.push_back({at.dz, H, bias + width + 2 * H});
    }

    // Called after the sums: copies the parts of dU (H, G H) together, and sets the
    // gradient of gru's second bias, which equals that of the first except for n.
    void assemble(const Recurrence& c, float* dU) const {
      int64_t H = c.H, width = c.width();
      if (bias && c.kind == CellKind::gru) std::copy_n(bias, 2 * H, bias + width);
      for (int64_t first = 0, i = 0; gates && first < width;
           first += part_columns(c, i++))
        for (int64_t k = 0, n = part_columns(c, i); k < H; k++)
          std::copy_n(gates + H * first + k * n, n, dU + k * width + first);
    }
    Few<Sum, 5> products;
    Few<Column, 2> columns;
    float* gates = nullptr;  // the parts of dU, if there are several
    float* bias = nullptr;
  };

  static Variable variable_of(const OpSource& source, const char* role) {
    int slot = variable_index(source.spec.params, role);
    const VariableSpec& v = source.params[size_t(slot)];
    return {slot, v.offset, v.trainable, v.shape};
  }

  void check_shapes(const OpSpec& spec) {
    const Recurrence& c = cell_;
    int64_t H = c.H, width = c.width();
    bool lstm = c.kind == CellKind::lstm;
    Shape bias = c.kind == CellKind::gru ? Shape{2, width} : Shape{width};
    if (W_.shape != Shape{c.F, width} || U_.shape != Shape{H, width} ||
        (b_.slot >= 0 && b_.shape != bias) || (c.states && !lstm))
      refuse_shapes(spec, "its variables");
    Shape out = c.sequences ? Shape{c.T, c.outputs()} : Shape{c.outputs()};
    if (spec.out_shape != out) refuse_shapes(spec, "its output");
    masked_ = is_on(spec.attrs, "masked"), initial_ = is_on(spec.attrs, "initial");
    dropped_ = cell_.dropped = is_on(spec.attrs, "recurrent_dropout");
    std::vector<Shape> more;
    if (masked_) more.push_back({c.T});
    if (initial_) more.insert(more.end(), lstm ? 2 : 1, {H});
    if (dropped_) {
      bool by_gates = !spec.more_shapes.empty() && spec.more_shapes.back().size() == 2;
      more.push_back(by_gates ? Shape{c.gates(), H} : Shape{H});
      if (by_gates) cell_.copies = c.gates();
    }
    if (spec.more_shapes != more) refuse_shapes(spec, "its inputs");
    inputs_ = more.size() + 1;
  }

  // What forward stores after y.
  Aux aux_of(const ExecContext& ctx, const float* y) const {
    int64_t steps = ctx.batch * cell_.T, padded = cell_.padded();
    float* at = const_cast<float*>(y) + (ctx.batch * out + 15) / 16 * 16;
    Aux aux{at, at + steps * padded * cell_.saved_vectors(), nullptr, nullptr};
    aux.mask = aux.h_in + steps * padded * cell_.copies;
    aux.factors = aux.mask + (masked_ ? steps : 0);
    return aux;
  }

  template <class Body>
  void in_blocks(const ExecContext& ctx, Body&& body) const {
    // The block size does not affect the results.
    int64_t size = (ctx.batch + get_threads() - 1) / get_threads();
    size = std::clamp<int64_t>(size, 4, 16);
    parallel((ctx.batch + size - 1) / size, ctx.batch * work, [&](int64_t task) {
      int64_t first = task * size;
      body(first, std::min(size, ctx.batch - first));
    });
  }

  Recurrence positions(const ExecContext& ctx, const float* x, const float* y,
                       const Parts& parts) const {
    Recurrence p = cell_;
    Aux aux = aux_of(ctx, y);
    p.x = x, p.saved = aux.saved, p.h_in = aux.h_in;
    if (masked_) p.mask = aux.mask;
    if (dropped_) p.factors = aux.factors;
    p.packed = parts.transposed, p.local = parts.local, p.reset = parts.reset;
    p.dz = parts.dz;
    return p;
  }

  void scan_backward(const ExecContext& ctx, const float* y, const float* dy,
                     const Parts& parts, float* dh0, float* dc0) const {
    const RecurrentKernels& kernels = *ctx.kernels.recurrent;
    Recurrence p = positions(ctx, nullptr, y, parts);
    p.dy = dy, p.dh0 = dh0, p.dc0 = dc0;
    parallel(kernels.transpose_tasks(p), p.H * p.width() * 4, [&](int64_t task) {
      kernels.transpose(p, ctx.params + U_.offset, parts.transposed, task);
    });
    in_blocks(ctx,
              [&](int64_t first, int64_t count) { kernels.backward(p, first, count); });
  }

  void run_backward(const ExecContext& ctx, const float* x, const float* y,
                    const float* dy, float* const* dx, size_t count,
                    const Derivative& before) const {
    const Recurrence& c = cell_;
    bool gradients = ctx.gradient && trainable;
    if (!gradients && std::all_of(dx, dx + count, [](float* d) { return !d; })) return;
    size_t states = 1 + size_t(masked_), after = states + (initial_ ? 1 : 0);
    float* dh0 = initial_ ? dx[states] : nullptr;
    float* dc0 = initial_ && c.kind == CellKind::lstm ? dx[after++] : nullptr;
    // Masks and factors have no gradient.
    if (masked_ && dx[1]) clear(dx[1], ctx.batch * c.T);
    if (dropped_ && dx[after]) clear(dx[after], ctx.batch * c.copies * c.H);
    Parts parts(*this, *ctx.kernels.recurrent, ctx.batch, ctx.scratch);
    scan_backward(ctx, y, dy, parts, dh0, dc0);
    if (stopped()) return;
    Recurrence at = positions(ctx, x, y, parts);
    int64_t steps = ctx.batch * c.T, width = c.width();
    Sums sums(*this, at, steps, ctx.gradient, parts.gates);
    if (!gradients) {
      sums.products.clear(), sums.columns.clear();
      sums.gates = sums.bias = nullptr;
    }
    if (steps > longest_product) {
      for (const Sum& sum : sums.products) {
        product_in_parts(ctx, sum.product, parts.sums);
        if (sum.slot >= 0)
          check_overflow(ctx, sum.product.c, sum.product.M * sum.product.N, sum.slot);
      }
      sums.products.clear();
    }
    Product down{.a = at.dz_x(),
                 .a_row = c.dz_width(),
                 .a_step = 1,
                 .b = ctx.params + W_.offset,
                 .b_row = width,
                 .b_transposed = true,
                 .c = dx[0],
                 .M = steps,
                 .N = c.F,
                 .K = width,
                 .after = Product::differentiate,
                 .derivative = before,
                 .stop_requested = stop_requested};
    constexpr int64_t piece = 128;
    auto pieces = [](const Column& column) {
      return (column.count + piece - 1) / piece;
    };
    int64_t tasks = 0;
    for (const Sum& sum : sums.products)
      tasks += ctx.kernels.product_tasks(sum.product);
    for (const Column& column : sums.columns) tasks += pieces(column);
    if (dx[0]) tasks += ctx.kernels.product_tasks(down);
    parallel(tasks, ctx.batch * work * (1 + (dx[0] != nullptr)), [&](int64_t task) {
      for (const Sum& sum : sums.products) {
        int64_t own = ctx.kernels.product_tasks(sum.product);
        if (task < own) {
          if (!ctx.kernels.product(sum.product, task) && sum.slot >= 0)
            flag_overflow(ctx, sum.slot);
          return;
        }
        task -= own;
      }
      for (const Column& column : sums.columns) {
        if (task >= pieces(column)) {
          task -= pieces(column);
          continue;
        }
        int64_t first = task * piece, n = std::min(piece, column.count - first);
        ctx.kernels.sum_rows(column.from, steps, c.dz_width(), first, n,
                             column.to + first);
        check_overflow(ctx, column.to + first, n, b_.slot);
        return;
      }
      ctx.kernels.product(down, task);
    });
    sums.assemble(c, ctx.gradient + U_.offset);
    if (sums.gates) check_overflow(ctx, ctx.gradient + U_.offset, c.H * width, U_.slot);
  }

  Recurrence cell_{};
  Variable W_, U_, b_;
  bool masked_ = false, initial_ = false, dropped_ = false;
  size_t inputs_ = 1;
};

}  // namespace

std::unique_ptr<Op> make_lstm(const OpSource& source) {
  return std::make_unique<Recurrent>(source, CellKind::lstm);
}
std::unique_ptr<Op> make_gru(const OpSource& source) {
  bool after = number(source.spec.attrs, "reset_after") != 0;
  return std::make_unique<Recurrent>(source,
                                     after ? CellKind::gru : CellKind::gru_before);
}
std::unique_ptr<Op> make_simple_rnn(const OpSource& source) {
  return std::make_unique<Recurrent>(source, CellKind::simple);
}

}  // namespace kurve
