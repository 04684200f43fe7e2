#include "optimizers/registry.hpp"

#include "optimizers/lcsc.hpp"
#include "optimizers/pagmo_bridge.hpp"
#include "optimizers/random.hpp"

namespace paretod {

std::vector<Optimizer> builtin_optimizers() {
  return {
      lcsc_optimizer(),
      pagmo_optimizer(),
      random_optimizer(),
  };
}

}  // namespace paretod
