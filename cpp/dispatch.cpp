#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "platform.h"

namespace kurve {

#if defined(KURVE_HAS_v2)
extern const Kernels kernels_v2, kernels_v3, kernels_v4;
#elif defined(KURVE_HAS_neon)
extern const Kernels kernels_neon;
#elif defined(KURVE_HAS_simd128)
extern const Kernels kernels_simd128;
#endif

namespace {

struct Isa {
  const char* name;
  const Kernels* kernels;
  bool supported;
};

// Slowest first.
std::vector<Isa> isas() {
#if defined(KURVE_HAS_v2)
  int level = x86_level();
  return {{"x86-64-v2", &kernels_v2, level >= 2},
          {"x86-64-v3", &kernels_v3, level >= 3},
          {"x86-64-v4", &kernels_v4, level >= 4}};
#elif defined(KURVE_HAS_simd128)
  return {{"simd128", &kernels_simd128, true}};
#else
  return {{"neon", &kernels_neon, true}};
#endif
}

Isa choose() {
  std::string names, best;
  const char* requested = std::getenv("KURVE_ISA");
  std::vector<Isa> all = isas();
  for (const Isa& isa : all)
    if (isa.supported) {
      best = isa.name;
      names += (names.empty() ? "" : ", ") + best;
    }
  if (best.empty())
    throw std::runtime_error(
        "[kurve] this CPU has none of the instruction sets of the native engine. "
        "Try the reference engine.");
  std::string name = requested && *requested ? requested : best;
  for (const Isa& isa : all)
    if ((name == isa.name || "x86-64-" + name == isa.name) && isa.supported) return isa;
  throw std::invalid_argument(
      "[kurve] the environment variable KURVE_ISA must name an instruction set that "
      "this CPU has: " +
      names + ". Received: '" + name + "'. Try KURVE_ISA=" + best + ".");
}

const Isa& chosen() {
  static const Isa isa = choose();
  return isa;
}

}  // namespace

const Kernels& kernels() { return *chosen().kernels; }

std::string isa() { return chosen().name; }

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Isa& isa : isas())
    if (isa.supported) names.push_back(isa.name);
  return names;
}

}  // namespace kurve
