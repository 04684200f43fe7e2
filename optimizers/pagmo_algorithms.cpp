#include "optimizers/pagmo_algorithms.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <pagmo/algorithms/bee_colony.hpp>
#include <pagmo/algorithms/cmaes.hpp>
#include <pagmo/algorithms/compass_search.hpp>
#include <pagmo/algorithms/de.hpp>
#include <pagmo/algorithms/de1220.hpp>
#include <pagmo/algorithms/gaco.hpp>
#include <pagmo/algorithms/gwo.hpp>
#include <pagmo/algorithms/ihs.hpp>
#include <pagmo/algorithms/maco.hpp>
#include <pagmo/algorithms/mbh.hpp>
#include <pagmo/algorithms/moead.hpp>
#include <pagmo/algorithms/nsga2.hpp>
#include <pagmo/algorithms/nspso.hpp>
#include <pagmo/algorithms/pso.hpp>
#include <pagmo/algorithms/pso_gen.hpp>
#include <pagmo/algorithms/sade.hpp>
#include <pagmo/algorithms/sea.hpp>
#include <pagmo/algorithms/sga.hpp>
#include <pagmo/algorithms/simulated_annealing.hpp>
#include <pagmo/algorithms/xnes.hpp>
#include <pagmo/batch_evaluators/member_bfe.hpp>
#include <pagmo/bfe.hpp>
#include <utility>

namespace paretod {
namespace {

constexpr std::size_t any_number = std::numeric_limits<std::size_t>::max();
constexpr double tiny = 1e-6;  // the least value where pagmo wants a positive one
constexpr double many = 1e9;
constexpr const char* params_pointer = "/optimizer/params/";

unsigned natural(std::int64_t value) {
  return static_cast<unsigned>(value);
}

/// Parameters are plain structs with a static description, as everywhere.
template <class P>
PagmoAlgorithm entry(PagmoDemands demands, pagmo::algorithm (*make)(const P&, const PagmoSetup&),
                     Problems (*check)(const P&, const PagmoJob&) = nullptr) {
  PagmoAlgorithm algorithm;
  algorithm.demands = std::move(demands);
  algorithm.fields = P::fields().infos();
  algorithm.check = [check](const ParamValues& values, const PagmoJob& job) -> Problems {
    const auto params = P::fields().bind(values);
    if (!params) return params.error().problems;
    return check == nullptr ? Problems{} : check(*params, job);
  };
  algorithm.make = [make](const ParamValues& values, const PagmoSetup& setup) {
    return make(P::fields().bind(values).value(), setup);
  };
  return algorithm;
}

template <class Algorithm>
pagmo::algorithm in_batches(Algorithm algorithm) {
  // member_bfe calls batch_fitness and nothing else; pagmo's default would call fitness from
  // several threads, in no order.
  algorithm.set_bfe(pagmo::bfe{pagmo::member_bfe{}});
  return pagmo::algorithm(std::move(algorithm));
}

// ---------------------------------------------------------------- several objectives

struct Nsga2 {
  double crossover_probability = 0.95;
  double crossover_index = 10;
  double mutation_probability = 0;
  double mutation_index = 50;

  static Fields<Nsga2> fields() {
    return Fields<Nsga2>()
        .add("crossover_probability", &Nsga2::crossover_probability,
             "how often two parents are crossed (simulated binary crossover; pagmo's cr)", 0,
             0.999999)
        .add("crossover_index", &Nsga2::crossover_index,
             "distribution index of crossover: larger stays closer to the parents (eta_c)", 1,
             99.999)
        .add("mutation_probability", &Nsga2::mutation_probability,
             "share of the coordinates that mutate (polynomial mutation; pagmo's m, there 0.01); "
             "0: one over their number",
             0, 1)
        .add("mutation_index", &Nsga2::mutation_index,
             "distribution index of mutation: larger stays closer to the parent (eta_m)", 1,
             99.999);
  }
};

pagmo::algorithm make_nsga2(const Nsga2& p, const PagmoSetup& setup) {
  const double mutation = p.mutation_probability > 0 ? p.mutation_probability
                                                     : 1 / static_cast<double>(setup.dimension);
  return in_batches(pagmo::nsga2(setup.generations, p.crossover_probability, p.crossover_index,
                                 mutation, p.mutation_index, setup.seed));
}

struct Moead {
  std::string weight_generation = "grid";
  std::string decomposition = "tchebycheff";
  std::int64_t neighbours = 20;
  double cr = 1;
  double f = 0.5;
  double eta_m = 20;
  double realb = 0.9;
  std::int64_t limit = 2;
  bool preserve_diversity = true;

  static Fields<Moead> fields() {
    return Fields<Moead>()
        .add("weight_generation", &Moead::weight_generation, "how the weight vectors are spread",
             {"grid", "low discrepancy", "random"})
        .add("decomposition", &Moead::decomposition,
             "what turns objectives and a weight into one number",
             {"tchebycheff", "weighted", "bi"})
        .add("neighbours", &Moead::neighbours,
             "weights that count as neighbours of one; fewer "
             "than the population",
             2, 1e5)
        .add("CR", &Moead::cr, "crossover of the differential evolution step", 0, 1)
        .add("F", &Moead::f, "scale of the differential evolution step", 0, 1)
        .add("eta_m", &Moead::eta_m, "distribution index of the polynomial mutation", 0, 1000)
        .add("realb", &Moead::realb, "how often parents come from the neighbours only", 0, 1)
        .add("limit", &Moead::limit,
             "most copies of a child that replace neighbours, while "
             "diversity is preserved",
             1, many)
        .add("preserve_diversity", &Moead::preserve_diversity, "whether realb and limit count");
  }
};

pagmo::algorithm make_moead(const Moead& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::moead(setup.generations, p.weight_generation, p.decomposition,
                                       static_cast<pagmo::population::size_type>(p.neighbours),
                                       p.cr, p.f, p.eta_m, p.realb, natural(p.limit),
                                       p.preserve_diversity, setup.seed));
}

/// Points of the simplex grid with `divisions` per axis: binomial(divisions + k - 1, k - 1).
double grid_points(double divisions, std::size_t objectives) {
  double points = 1;
  for (std::size_t k = 1; k < objectives; ++k) {
    points = std::round(points * (divisions + static_cast<double>(k)) / static_cast<double>(k));
  }
  return points;
}

Problems check_moead(const Moead& p, const PagmoJob& job) {
  if (p.neighbours >= job.population) {
    return {{std::string(params_pointer) + "neighbours",
             "must be less than the population of " + std::to_string(job.population)}};
  }
  const auto population = static_cast<double>(job.population);
  if (population < static_cast<double>(job.objectives)) {
    return {{std::string(params_pointer) + "population",
             "must be at least the number of "
             "objectives"}};
  }
  if (p.weight_generation != "grid" || job.objectives < 2) return {};
  double divisions = 1;
  while (grid_points(divisions + 1, job.objectives) <= population) ++divisions;
  const double fits = grid_points(divisions, job.objectives);
  if (fits == population) return {};
  const auto text = [](double size) { return std::to_string(static_cast<std::int64_t>(size)); };
  return {{std::string(params_pointer) + "population",
           "with " + std::to_string(job.objectives) + " objectives a grid of weights has " +
               text(fits) + " or " + text(grid_points(divisions + 1, job.objectives)) +
               " points: choose one of these, or another weight_generation"}};
}

struct Nspso {
  double omega = 0.6;
  double c1 = 2;
  double c2 = 2;
  double chi = 1;
  double v_coeff = 0.5;
  std::int64_t leader_selection_range = 60;
  std::string diversity_mechanism = "crowding distance";

  static Fields<Nspso> fields() {
    return Fields<Nspso>()
        .add("omega", &Nspso::omega, "inertia of a particle", 0, 1)
        .add("c1", &Nspso::c1, "pull of a particle's own best point", tiny, 100)
        .add("c2", &Nspso::c2, "pull of the leader", tiny, 100)
        .add("chi", &Nspso::chi, "scale of the velocity", tiny, 100)
        .add("v_coeff", &Nspso::v_coeff, "largest velocity, as a share of the box", tiny, 1)
        .add("leader_selection_range", &Nspso::leader_selection_range,
             "share of the population, in percent, from which leaders are drawn", 1, 100)
        .add("diversity_mechanism", &Nspso::diversity_mechanism, "what leaders are preferred for",
             {"crowding distance", "niche count", "max min"});
  }
};

pagmo::algorithm make_nspso(const Nspso& p, const PagmoSetup& setup) {
  return in_batches(pagmo::nspso(setup.generations, p.omega, p.c1, p.c2, p.chi, p.v_coeff,
                                 natural(p.leader_selection_range), p.diversity_mechanism, false,
                                 setup.seed));
}

struct Maco {
  std::int64_t ker = 63;
  double q = 1;
  std::int64_t threshold = 1;
  std::int64_t n_gen_mark = 7;
  std::int64_t evalstop = 100000;
  double focus = 0;

  static Fields<Maco> fields() {
    return Fields<Maco>()
        .add("ker", &Maco::ker, "points in the archive; at most the population", 2, 1e5)
        .add("q", &Maco::q, "how much the best of the archive are preferred: smaller, more", 0.001,
             many)
        .add("threshold", &Maco::threshold, "generation after which q becomes 0.01", 1, many)
        .add("n_gen_mark", &Maco::n_gen_mark, "generations over which the spread shrinks", 1, many)
        .add("evalstop", &Maco::evalstop, "generations without progress before it ends; 0: never",
             0, many)
        .add("focus", &Maco::focus, "narrows the spread: larger is greedier; 0: off", 0, many);
  }
};

/// The generation that `threshold` names has to exist for pagmo.
unsigned reachable(std::int64_t threshold, unsigned generations) {
  return std::min(natural(threshold), std::max(generations, 1U));
}

pagmo::algorithm make_maco(const Maco& p, const PagmoSetup& setup) {
  return in_batches(pagmo::maco(setup.generations, natural(p.ker), p.q,
                                reachable(p.threshold, setup.generations), natural(p.n_gen_mark),
                                natural(p.evalstop), p.focus, false, setup.seed));
}

Problems check_archive(std::int64_t ker, const PagmoJob& job) {
  if (ker <= job.population) return {};
  return {{std::string(params_pointer) + "ker",
           "is " + std::to_string(ker) + ", more than the population of " +
               std::to_string(job.population) + ": lower it or raise the population"}};
}

Problems check_maco(const Maco& p, const PagmoJob& job) {
  return check_archive(p.ker, job);
}

// ---------------------------------------------------------------- one objective, in batches

struct Gaco {
  std::int64_t ker = 63;
  double q = 1;
  double oracle = 0;
  double acc = 0.01;
  std::int64_t threshold = 1;
  std::int64_t n_gen_mark = 7;
  std::int64_t impstop = 100000;
  std::int64_t evalstop = 100000;
  double focus = 0;

  static Fields<Gaco> fields() {
    return Fields<Gaco>()
        .add("ker", &Gaco::ker, "points in the archive; at most the population", 2, 1e5)
        .add("q", &Gaco::q, "how much the best of the archive are preferred: smaller, more", 0.001,
             many)
        .add("oracle", &Gaco::oracle, "a guess of the best value (minimised)", -1e15, 1e15)
        .add("acc", &Gaco::acc, "least difference of penalties between points of the archive", 0,
             many)
        .add("threshold", &Gaco::threshold, "generation after which q becomes 0.01", 1, many)
        .add("n_gen_mark", &Gaco::n_gen_mark, "generations over which the spread shrinks", 1, many)
        .add("impstop", &Gaco::impstop, "improvements of the archive before it ends; 0: never", 0,
             many)
        .add("evalstop", &Gaco::evalstop, "generations without progress before it ends; 0: never",
             0, many)
        .add("focus", &Gaco::focus, "narrows the spread: larger is greedier; 0: off", 0, many);
  }
};

pagmo::algorithm make_gaco(const Gaco& p, const PagmoSetup& setup) {
  return in_batches(pagmo::gaco(setup.generations, natural(p.ker), p.q, p.oracle, p.acc,
                                reachable(p.threshold, setup.generations), natural(p.n_gen_mark),
                                natural(p.impstop), natural(p.evalstop), p.focus, false,
                                setup.seed));
}

Problems check_gaco(const Gaco& p, const PagmoJob& job) {
  return check_archive(p.ker, job);
}

/// pso and pso_gen.
struct Swarm {
  double omega = 0.7298;
  double eta1 = 2.05;
  double eta2 = 2.05;
  double max_vel = 0.5;
  std::int64_t variant = 5;
  std::int64_t neighb_type = 2;
  std::int64_t neighb_param = 4;

  static Fields<Swarm> fields() {
    return Fields<Swarm>()
        .add("omega", &Swarm::omega, "inertia of a particle, or the constriction factor", 0, 1)
        .add("eta1", &Swarm::eta1, "pull of a particle's own best point", 0, 4)
        .add("eta2", &Swarm::eta2, "pull of the best neighbour", 0, 4)
        .add("max_vel", &Swarm::max_vel, "largest velocity, as a share of the box", tiny, 1)
        .add("variant", &Swarm::variant,
             "how velocities change: 1 to 4 inertia, 5 constriction, 6 fully informed", 1, 6)
        .add("neighb_type", &Swarm::neighb_type,
             "who are neighbours: 1 all, 2 a ring, 3 a lattice, 4 drawn at random", 1, 4)
        .add("neighb_param", &Swarm::neighb_param,
             "neighbours in a ring, or drawn; at most the population", 1, 1e5);
  }
};

pagmo::algorithm make_pso(const Swarm& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::pso(setup.generations, p.omega, p.eta1, p.eta2, p.max_vel,
                                     natural(p.variant), natural(p.neighb_type),
                                     natural(p.neighb_param), false, setup.seed));
}

pagmo::algorithm make_pso_gen(const Swarm& p, const PagmoSetup& setup) {
  return in_batches(pagmo::pso_gen(setup.generations, p.omega, p.eta1, p.eta2, p.max_vel,
                                   natural(p.variant), natural(p.neighb_type),
                                   natural(p.neighb_param), false, setup.seed));
}

Problems check_swarm(const Swarm& p, const PagmoJob& job) {
  if (p.neighb_type == 2 && p.neighb_param < 2) {
    return {{std::string(params_pointer) + "neighb_param", "must be at least 2 in a ring"}};
  }
  if (p.neighb_param <= job.population) return {};
  return {{std::string(params_pointer) + "neighb_param",
           "must be at most the population of " + std::to_string(job.population)}};
}

// ---------------------------------------------------------------- one objective, point by point

constexpr const char* ftol_meaning =
    "ends when the best and the worst of the population differ by less in value; 0: never";
constexpr const char* xtol_meaning =
    "ends when the best and the worst of the population differ by less in place; 0: never";

struct De {
  double f = 0.8;
  double cr = 0.9;
  std::int64_t variant = 2;
  double ftol = 1e-6;
  double xtol = 1e-6;

  static Fields<De> fields() {
    return Fields<De>()
        .add("F", &De::f, "scale of the difference that is added", 0, 1)
        .add("CR", &De::cr, "share of the coordinates taken from the mutant", 0, 1)
        .add("variant", &De::variant, "which mutant, in pagmo's numbering; 2 is rand/1/exp", 1, 10)
        .add("ftol", &De::ftol, ftol_meaning, 0, many)
        .add("xtol", &De::xtol, xtol_meaning, 0, many);
  }
};

pagmo::algorithm make_de(const De& p, const PagmoSetup& setup) {
  return pagmo::algorithm(
      pagmo::de(setup.generations, p.f, p.cr, natural(p.variant), p.ftol, p.xtol, setup.seed));
}

constexpr const char* adaptation_meaning =
    "how F and CR adapt: 1 jDE (Brest et al.), 2 iDE (Elsayed et al.)";

struct Sade {
  std::int64_t variant = 2;
  std::int64_t variant_adptv = 1;
  double ftol = 1e-6;
  double xtol = 1e-6;

  static Fields<Sade> fields() {
    return Fields<Sade>()
        .add("variant", &Sade::variant, "which mutant, in pagmo's numbering; 2 is rand/1/exp", 1,
             18)
        .add("variant_adptv", &Sade::variant_adptv, adaptation_meaning, 1, 2)
        .add("ftol", &Sade::ftol, ftol_meaning, 0, many)
        .add("xtol", &Sade::xtol, xtol_meaning, 0, many);
  }
};

pagmo::algorithm make_sade(const Sade& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::sade(setup.generations, natural(p.variant),
                                      natural(p.variant_adptv), p.ftol, p.xtol, false, setup.seed));
}

struct De1220 {
  std::vector<double> allowed_variants = {2, 3, 7, 10, 13, 14, 15, 16};
  std::int64_t variant_adptv = 1;
  double ftol = 1e-6;
  double xtol = 1e-6;

  static Fields<De1220> fields() {
    return Fields<De1220>()
        .add("allowed_variants", &De1220::allowed_variants,
             "mutants that each point tries, in pagmo's numbering", 1, 18)
        .add("variant_adptv", &De1220::variant_adptv, adaptation_meaning, 1, 2)
        .add("ftol", &De1220::ftol, ftol_meaning, 0, many)
        .add("xtol", &De1220::xtol, xtol_meaning, 0, many);
  }
};

pagmo::algorithm make_de1220(const De1220& p, const PagmoSetup& setup) {
  const std::vector<unsigned> variants(p.allowed_variants.begin(), p.allowed_variants.end());
  return pagmo::algorithm(pagmo::de1220(setup.generations, variants, natural(p.variant_adptv),
                                        p.ftol, p.xtol, false, setup.seed));
}

Problems check_de1220(const De1220& p, const PagmoJob&) {
  const std::string at = std::string(params_pointer) + "allowed_variants";
  if (p.allowed_variants.empty()) return {{at, "needs at least one variant"}};
  for (std::size_t i = 0; i < p.allowed_variants.size(); ++i) {
    if (p.allowed_variants[i] != std::trunc(p.allowed_variants[i])) {
      return {{at + "/" + std::to_string(i), "must be a whole number"}};
    }
  }
  return {};
}

struct Cmaes {
  double cc = -1;
  double cs = -1;
  double c1 = -1;
  double cmu = -1;
  double sigma0 = 0.5;
  double ftol = 1e-6;
  double xtol = 1e-6;
  bool force_bounds = false;

  static Fields<Cmaes> fields() {
    return Fields<Cmaes>()
        .add("cc", &Cmaes::cc, "memory of the evolution path, 0 to 1; -1: automatic", -1, 1)
        .add("cs", &Cmaes::cs, "memory of the step size's path, 0 to 1; -1: automatic", -1, 1)
        .add("c1", &Cmaes::c1, "learning rate of the rank-one update, 0 to 1; -1: automatic", -1, 1)
        .add("cmu", &Cmaes::cmu, "learning rate of the rank-mu update, 0 to 1; -1: automatic", -1,
             1)
        .add("sigma0", &Cmaes::sigma0, "first step, as a share of the box", tiny, 1)
        .add("ftol", &Cmaes::ftol, ftol_meaning, 0, many)
        .add("xtol", &Cmaes::xtol, "ends when a step becomes smaller; 0: never", 0, many)
        .add("force_bounds", &Cmaes::force_bounds,
             "draws again what leaves the box; without it, such points are moved to its edge");
  }
};

pagmo::algorithm make_cmaes(const Cmaes& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::cmaes(setup.generations, p.cc, p.cs, p.c1, p.cmu, p.sigma0, p.ftol,
                                       p.xtol, false, p.force_bounds, setup.seed));
}

/// pagmo reads -1 as "automatic" and refuses everything else outside its range.
template <class... Rates>
Problems check_rates(double least, const Rates&... rates) {
  Problems problems;
  for (const std::pair<const char*, double>& rate : {rates...}) {
    if (rate.second == -1 || rate.second >= least) continue;
    problems.push_back({std::string(params_pointer) + rate.first,
                        least > 0 ? "must be -1 (automatic) or greater than 0, up to 1"
                                  : "must be -1 (automatic) or from 0 to 1"});
  }
  return problems;
}

Problems check_cmaes(const Cmaes& p, const PagmoJob&) {
  return check_rates(0, std::pair{"cc", p.cc}, std::pair{"cs", p.cs}, std::pair{"c1", p.c1},
                     std::pair{"cmu", p.cmu});
}

struct Xnes {
  double eta_mu = -1;
  double eta_sigma = -1;
  double eta_b = -1;
  double sigma0 = -1;
  double ftol = 1e-6;
  double xtol = 1e-6;
  bool force_bounds = false;

  static Fields<Xnes> fields() {
    return Fields<Xnes>()
        .add("eta_mu", &Xnes::eta_mu, "learning rate of the mean, to 1; -1: automatic", -1, 1)
        .add("eta_sigma", &Xnes::eta_sigma, "learning rate of the step size, to 1; -1: automatic",
             -1, 1)
        .add("eta_b", &Xnes::eta_b, "learning rate of the covariance, to 1; -1: automatic", -1, 1)
        .add("sigma0", &Xnes::sigma0, "first step, as a share of the box; -1: automatic", -1, 1)
        .add("ftol", &Xnes::ftol, ftol_meaning, 0, many)
        .add("xtol", &Xnes::xtol, "ends when a step becomes smaller; 0: never", 0, many)
        .add("force_bounds", &Xnes::force_bounds,
             "draws again what leaves the box; without it, such points are moved to its edge");
  }
};

pagmo::algorithm make_xnes(const Xnes& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::xnes(setup.generations, p.eta_mu, p.eta_sigma, p.eta_b, p.sigma0,
                                      p.ftol, p.xtol, false, p.force_bounds, setup.seed));
}

Problems check_xnes(const Xnes& p, const PagmoJob&) {
  return check_rates(std::numeric_limits<double>::min(), std::pair{"eta_mu", p.eta_mu},
                     std::pair{"eta_sigma", p.eta_sigma}, std::pair{"eta_b", p.eta_b},
                     std::pair{"sigma0", p.sigma0});
}

struct Sga {
  double cr = 0.9;
  double eta_c = 1;
  double m = 0.02;
  double param_m = 1;
  std::int64_t param_s = 2;
  std::string crossover = "exponential";
  std::string mutation = "polynomial";
  std::string selection = "tournament";

  static Fields<Sga> fields() {
    return Fields<Sga>()
        .add("cr", &Sga::cr, "how often parents are crossed", 0, 1)
        .add("eta_c", &Sga::eta_c, "distribution index of sbx crossover", 1, 100)
        .add("m", &Sga::m, "share of the coordinates that mutate", 0, 1)
        .add("param_m", &Sga::param_m,
             "polynomial mutation: its distribution index, 1 to 100; else the width of mutation "
             "as a share of the box, 0 to 1",
             0, 100)
        .add("param_s", &Sga::param_s,
             "truncated selection: how many of the best survive; tournament: its size", 1, 1e5)
        .add("crossover", &Sga::crossover, "which crossover; sbx wants an even population",
             {"exponential", "binomial", "single", "sbx"})
        .add("mutation", &Sga::mutation, "which mutation", {"polynomial", "gaussian", "uniform"})
        .add("selection", &Sga::selection, "which selection", {"tournament", "truncated"});
  }
};

pagmo::algorithm make_sga(const Sga& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::sga(setup.generations, p.cr, p.eta_c, p.m, p.param_m,
                                     natural(p.param_s), p.crossover, p.mutation, p.selection,
                                     setup.seed));
}

Problems check_sga(const Sga& p, const PagmoJob& job) {
  const std::string at = params_pointer;
  Problems problems;
  if (p.mutation == "polynomial" && p.param_m < 1) {
    problems.push_back({at + "param_m", "must be at least 1 for polynomial mutation"});
  } else if (p.mutation != "polynomial" && p.param_m > 1) {
    problems.push_back({at + "param_m", "must be at most 1 for " + p.mutation + " mutation"});
  }
  if (p.param_s > job.population) {
    problems.push_back(
        {at + "param_s", "must be at most the population of " + std::to_string(job.population)});
  }
  if (p.crossover == "sbx" && job.population % 2 != 0) {
    problems.push_back({at + "population", "must be even for sbx crossover"});
  }
  return problems;
}

struct BeeColony {
  std::int64_t limit = 20;

  static Fields<BeeColony> fields() {
    return Fields<BeeColony>().add("limit", &BeeColony::limit,
                                   "trials without progress before a source is abandoned", 1, many);
  }
};

pagmo::algorithm make_bee_colony(const BeeColony& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::bee_colony(setup.generations, natural(p.limit), setup.seed));
}

/// Algorithms without parameters of their own.
struct None {
  static Fields<None> fields() { return {}; }
};

pagmo::algorithm make_gwo(const None&, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::gwo(setup.generations, setup.seed));
}

pagmo::algorithm make_sea(const None&, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::sea(setup.generations, setup.seed));
}

struct Ihs {
  double phmcr = 0.85;
  double ppar_min = 0.35;
  double ppar_max = 0.99;
  double bw_min = 1e-5;
  double bw_max = 1;

  static Fields<Ihs> fields() {
    return Fields<Ihs>()
        .add("phmcr", &Ihs::phmcr, "share of the coordinates taken from the memory", tiny, 1 - tiny)
        .add("ppar_min", &Ihs::ppar_min, "least share of those that are adjusted", tiny, 1 - tiny)
        .add("ppar_max", &Ihs::ppar_max, "largest share of those that are adjusted", tiny, 1 - tiny)
        .add("bw_min", &Ihs::bw_min, "least width of an adjustment", 1e-12, many)
        .add("bw_max", &Ihs::bw_max, "largest width of an adjustment", 1e-12, many);
  }
};

pagmo::algorithm make_ihs(const Ihs& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::ihs(setup.generations, p.phmcr, p.ppar_min, p.ppar_max, p.bw_min,
                                     p.bw_max, setup.seed));
}

Problems check_ihs(const Ihs& p, const PagmoJob&) {
  Problems problems;
  const std::string at = params_pointer;
  if (!(p.ppar_min < p.ppar_max)) problems.push_back({at + "ppar_min", "must be below ppar_max"});
  if (!(p.bw_min < p.bw_max)) problems.push_back({at + "bw_min", "must be below bw_max"});
  return problems;
}

struct Annealing {
  double ts = 10;
  double tf = 0.1;
  std::int64_t n_t_adj = 10;
  std::int64_t n_range_adj = 1;
  std::int64_t bin_size = 20;
  double start_range = 1;

  static Fields<Annealing> fields() {
    return Fields<Annealing>()
        .add("Ts", &Annealing::ts, "first temperature", 1e-12, many)
        .add("Tf", &Annealing::tf, "last temperature", 1e-12, many)
        .add("n_T_adj", &Annealing::n_t_adj, "temperatures in between", 1, 1e6)
        .add("n_range_adj", &Annealing::n_range_adj, "adjustments of the range per temperature", 1,
             1e6)
        .add("bin_size", &Annealing::bin_size, "changes of each coordinate per adjustment", 1, 1e6)
        .add("start_range", &Annealing::start_range, "first range, as a share of the box", tiny, 1);
  }
};

pagmo::algorithm make_annealing(const Annealing& p, const PagmoSetup& setup) {
  return pagmo::algorithm(pagmo::simulated_annealing(p.ts, p.tf, natural(p.n_t_adj),
                                                     natural(p.n_range_adj), natural(p.bin_size),
                                                     p.start_range, setup.seed));
}

Problems check_annealing(const Annealing& p, const PagmoJob&) {
  if (p.tf <= p.ts) return {};
  return {{std::string(params_pointer) + "Tf", "must be at most Ts"}};
}

struct Compass {
  double start_range = 0.1;
  double stop_range = 0.01;
  double reduction_coeff = 0.5;

  static Fields<Compass> fields() {
    return Fields<Compass>()
        .add("start_range", &Compass::start_range, "first step, as a share of the box", tiny, 1)
        .add("stop_range", &Compass::stop_range, "ends when the step is smaller", 1e-12, 1)
        .add("reduction_coeff", &Compass::reduction_coeff,
             "what the step is multiplied by when no direction is better", tiny, 1 - tiny);
  }
};

Problems check_compass(const Compass& p, const PagmoJob&) {
  if (p.stop_range < p.start_range) return {};
  return {{std::string(params_pointer) + "stop_range", "must be less than start_range"}};
}

/// The budget of the job bounds it, not pagmo's own limit.
pagmo::compass_search unlimited(const Compass& p) {
  return pagmo::compass_search(std::numeric_limits<unsigned>::max(), p.start_range, p.stop_range,
                               p.reduction_coeff);
}

pagmo::algorithm make_compass(const Compass& p, const PagmoSetup&) {
  return pagmo::algorithm(unlimited(p));
}

/// Compass search inside, as pagmo's default.
struct Mbh {
  std::int64_t stop = 5;
  double perturb = 0.01;
  double start_range = 0.1;
  double stop_range = 0.01;
  double reduction_coeff = 0.5;

  static Fields<Mbh> fields() {
    return Fields<Mbh>()
        .add("stop", &Mbh::stop, "jumps in a row without progress before it ends", 1, many)
        .add("perturb", &Mbh::perturb, "width of a jump, as a share of the box", tiny, 1)
        .add("start_range", &Mbh::start_range, "first step of the compass search after a jump",
             tiny, 1)
        .add("stop_range", &Mbh::stop_range, "step at which the compass search ends", 1e-12, 1)
        .add("reduction_coeff", &Mbh::reduction_coeff,
             "what the step is multiplied by when no direction is better", tiny, 1 - tiny);
  }
  [[nodiscard]] Compass compass() const { return {start_range, stop_range, reduction_coeff}; }
};

pagmo::algorithm make_mbh(const Mbh& p, const PagmoSetup& setup) {
  return pagmo::algorithm(
      pagmo::mbh(unlimited(p.compass()), natural(p.stop), p.perturb, setup.seed));
}

Problems check_mbh(const Mbh& p, const PagmoJob& job) {
  return check_compass(p.compass(), job);
}

}  // namespace

std::vector<PagmoAlgorithm> pagmo_algorithms() {
  using Generations = PagmoGenerations;
  return {
      entry<Nsga2>({.name = "nsga2",
                    .method = "NSGA-II (Deb et al., 2002)",
                    .least_objectives = 2,
                    .most_objectives = any_number,
                    .least_population = 8,
                    .population_multiple = 4,
                    .batches = true,
                    .integers = true},
                   make_nsga2),
      entry<Moead>({.name = "moead",
                    .method = "MOEA/D-DE (Li and Zhang, 2009)",
                    .least_objectives = 2,
                    .most_objectives = any_number,
                    .least_population = 3},
                   make_moead, check_moead),
      entry<Nspso>({.name = "nspso",
                    .method = "non-dominated sorting particle swarm (Li, 2003)",
                    .least_objectives = 2,
                    .most_objectives = any_number,
                    .least_population = 4,
                    .batches = true},
                   make_nspso),
      entry<Maco>({.name = "maco",
                   .method = "ant colony for several objectives (Acciarini, 2020)",
                   .least_objectives = 2,
                   .most_objectives = any_number,
                   .batches = true,
                   .integers = true},
                  make_maco, check_maco),
      entry<Ihs>({.name = "ihs",
                  .method = "improved harmony search (Mahdavi et al., 2007)",
                  .most_objectives = any_number,
                  .population = 20,
                  .least_population = 1,
                  .integers = true,
                  .generations = Generations::single,
                  .plans = true},
                 make_ihs, check_ihs),
      entry<Gaco>({.name = "gaco",
                   .method = "extended ant colony (Schlueter et al., 2009)",
                   .batches = true,
                   .integers = true},
                  make_gaco, check_gaco),
      entry<Swarm>({.name = "pso_gen",
                    .method = "particle swarm, generational",
                    .population = 40,
                    .batches = true},
                   make_pso_gen, check_swarm),
      entry<Swarm>({.name = "pso", .method = "particle swarm, point by point", .population = 40},
                   make_pso, check_swarm),
      entry<De>({.name = "de",
                 .method = "differential evolution (Storn and Price, 1997)",
                 .population = 40,
                 .least_population = 5},
                make_de),
      entry<Sade>({.name = "sade",
                   .method = "self-adaptive differential evolution",
                   .population = 40,
                   .least_population = 7},
                  make_sade),
      entry<De1220>({.name = "de1220",
                     .method = "differential evolution that also adapts its variant",
                     .population = 40,
                     .least_population = 7},
                    make_de1220, check_de1220),
      entry<Cmaes>({.name = "cmaes",
                    .method = "CMA-ES (Hansen, 2006), without restarts",
                    .population = 20,
                    .least_population = 5},
                   make_cmaes, check_cmaes),
      entry<Xnes>({.name = "xnes",
                   .method = "exponential natural evolution strategy (Glasmachers et al., 2010)",
                   .population = 20,
                   .least_population = 4},
                  make_xnes, check_xnes),
      entry<Sga>({.name = "sga", .method = "a simple genetic algorithm", .integers = true},
                 make_sga, check_sga),
      entry<BeeColony>({.name = "bee_colony",
                        .method = "artificial bee colony (Karaboga and Basturk, 2007)",
                        .population = 20},
                       make_bee_colony),
      entry<None>({.name = "gwo",
                   .method = "grey wolf optimizer (Mirjalili et al., 2014)",
                   .population = 40,
                   .least_population = 3,
                   .plans = true},
                  make_gwo),
      entry<None>({.name = "sea",
                   .method = "(N+1) evolutionary algorithm",
                   .population = 20,
                   .least_population = 1,
                   .generations = Generations::single},
                  make_sea),
      entry<Annealing>({.name = "simulated_annealing",
                        .method = "simulated annealing (Corana et al., 1987), again and again",
                        .population = 20,
                        .least_population = 1,
                        .generations = Generations::none,
                        .restarts = true},
                       make_annealing, check_annealing),
      entry<Compass>({.name = "compass_search",
                      .method = "compass search (Kolda et al., 2003)",
                      .population = 20,
                      .least_population = 1,
                      .generations = Generations::none},
                     make_compass, check_compass),
      entry<Mbh>({.name = "mbh",
                  .method = "monotonic basin hopping (Wales and Doye, 1997) over compass search",
                  .population = 5,
                  .least_population = 1,
                  .generations = Generations::none},
                 make_mbh, check_mbh),
  };
}

}  // namespace paretod
