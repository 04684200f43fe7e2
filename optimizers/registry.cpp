#include "optimizers/registry.hpp"

#include "optimizers/autodiffusion.hpp"
#include "optimizers/cmaes.hpp"
#include "optimizers/evo_merging.hpp"
#include "optimizers/lcsc.hpp"
#include "optimizers/map.hpp"
#include "optimizers/nsga2.hpp"
#include "optimizers/nsga3.hpp"
#include "optimizers/pagmo_bridge.hpp"
#include "optimizers/random.hpp"
#include "optimizers/sobol.hpp"

namespace paretod {

std::vector<Optimizer> builtin_optimizers() {
  return {
      autodiffusion_optimizer(), cmaes_optimizer(), evo_merging_optimizer(), lcsc_optimizer(),
      map_optimizer(),           nsga2_optimizer(), nsga3_optimizer(),       pagmo_optimizer(),
      random_optimizer(),        sobol_optimizer(),
  };
}

}  // namespace paretod
