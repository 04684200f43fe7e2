#include "evaluators/llm/genome.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

namespace paretod::llm {
namespace {

using nlohmann::json;

Parameter real(std::string name, double low, double high) {
  Parameter parameter;
  parameter.name = std::move(name);
  parameter.low = low;
  parameter.high = high;
  return parameter;
}

template <class Choices>
Parameter categorical(const char* name, const Choices& choices) {
  Parameter parameter;
  parameter.name = name;
  parameter.type = ParameterType::categorical;
  for (const auto& [label, value] : choices) parameter.choices.push_back(label);
  return parameter;
}

Error missing(const std::string& name, const std::string& what) {
  return invalid("the candidate is not valid", {{"/candidate/" + name, what}});
}

template <class Choices>
auto chosen(const Choices& choices, const json& candidate, const char* name)
    -> Result<const typename Choices::value_type::second_type*> {
  const auto found = candidate.find(name);
  for (const auto& [label, value] : choices) {
    if (found != candidate.end() && *found == label) return &value;
  }
  return missing(name, "has to be one of the choices");
}

/// The copy of an adapter that keeps about this share, by its place.
std::size_t nearest_copy(const std::vector<AdapterCopy>& copies, double keep) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < copies.size(); ++i) {
    if (std::abs(copies[i].keep - keep) < std::abs(copies[best].keep - keep)) best = i;
  }
  return best;
}

/// Files are told apart by what is cheap to look at.
json file_identity(const std::string& folder) {
  std::error_code error;
  const auto file = std::filesystem::path(folder) / "adapter_model.safetensors";
  const auto size = std::filesystem::file_size(file, error);
  const auto time = std::filesystem::last_write_time(file, error);
  return {folder, size, time.time_since_epoch().count()};
}

}  // namespace

std::vector<Parameter> space_of(const LlmConfig& config) {
  std::vector<Parameter> out;
  const MergeConfig& merge = config.merge;
  if (merge.alpha) {
    for (const AdapterConfig& adapter : merge.adapters) {
      out.push_back(real("alpha." + adapter.name, 0, 1));
    }
  }
  for (const AdapterConfig& adapter : merge.adapters) {
    out.push_back(real("beta." + adapter.name, -merge.bound, merge.bound));
  }
  for (const RangeGene& range : config.ranges)
    out.push_back(real(range.name, range.low, range.high));
  if (!config.prompts.system.empty()) out.push_back(categorical("system", config.prompts.system));
  if (!config.prompts.shots.empty()) out.push_back(categorical("shots", config.prompts.shots));
  return out;
}

bool Genome::base() const {
  for (std::size_t i = 0; i < beta.size(); ++i) {
    if (beta[i] != 0 && alpha[i] > 0) return false;
  }
  return true;
}

Result<Genome> genome_of(const LlmConfig& config, const json& candidate) {
  if (!candidate.is_object()) return missing("", "has to be an object");
  Genome genome;
  genome.sampling = config.sampling;
  const auto number = [&candidate](const std::string& name) -> Result<double> {
    const auto found = candidate.find(name);
    if (found == candidate.end() || !found->is_number() || !std::isfinite(found->get<double>())) {
      return missing(name, "has to be a finite number");
    }
    return found->get<double>();
  };
  for (const AdapterConfig& adapter : config.merge.adapters) {
    auto beta = number("beta." + adapter.name);
    auto alpha = config.merge.alpha ? number("alpha." + adapter.name) : Result<double>(1.0);
    if (!beta) return beta.error();
    if (!alpha) return alpha.error();
    double keep = std::clamp(*alpha, 0.0, 1.0);
    if (!adapter.copies.empty()) keep = adapter.copies[nearest_copy(adapter.copies, keep)].keep;
    // As the server computes: in single precision.
    const double weight = static_cast<double>(static_cast<float>(*beta));
    genome.beta.push_back(weight == 0 ? 0 : weight);  // no -0
    genome.alpha.push_back(weight == 0 ? 1 : keep);
  }
  if (config.merge.factor_space) {
    const double sum = std::accumulate(genome.beta.begin(), genome.beta.end(), 0.0);
    const auto first = std::find_if(genome.beta.begin(), genome.beta.end(),
                                    [](double weight) { return weight != 0; });
    const bool flip = sum < 0 || (sum == 0 && first != genome.beta.end() && *first < 0);
    for (double& weight : genome.beta) weight = flip && weight != 0 ? -weight : weight;
  }
  for (const RangeGene& range : config.ranges) {
    auto value = number(range.name);
    if (!value) return value.error();
    (range.name == "top_p" ? genome.sampling.top_p : genome.sampling.temperature) = *value;
  }
  if (!config.prompts.system.empty()) {
    auto system = chosen(config.prompts.system, candidate, "system");
    if (!system) return system.error();
    genome.system = *system;
  }
  if (!config.prompts.shots.empty()) {
    auto shots = chosen(config.prompts.shots, candidate, "shots");
    if (!shots) return shots.error();
    genome.shots = *shots;
  }
  return genome;
}

Selection selection_of(const LlmConfig& config, const Genome& genome) {
  Selection selection;
  selection.model = config.server.model;
  if (config.server.api == "llama_cpp" && config.merge.factor_space) {
    for (const double b : genome.beta) {
      for (const double a : genome.beta) {
        selection.weights.emplace_back(std::to_string(selection.weights.size()),
                                       static_cast<float>(b * a));
      }
    }
    return selection;
  }
  for (std::size_t i = 0; i < genome.beta.size(); ++i) {
    const AdapterConfig& adapter = config.merge.adapters[i];
    const auto weight = static_cast<float>(genome.beta[i]);
    if (adapter.copies.empty()) {
      selection.weights.emplace_back(adapter.id, weight);
      continue;
    }
    // All copies are named: one that is left out might keep a scale of the server's own.
    const std::size_t used = nearest_copy(adapter.copies, genome.alpha[i]);
    for (std::size_t k = 0; k < adapter.copies.size(); ++k) {
      // Where nothing of A is kept a delta vanishes; a factor still brings its B.
      const bool on = k == used && (config.merge.factor_space || adapter.copies[k].keep > 0);
      if (config.server.api == "lorax" && !on) continue;
      selection.weights.emplace_back(adapter.copies[k].id, on ? weight : 0.0F);
    }
  }
  return selection;
}

json identity_of(const LlmConfig& config, const Genome& genome, const std::string& server) {
  json adapters = json::array();
  for (const AdapterConfig& adapter : config.merge.adapters) {
    adapters.push_back(adapter.path.empty() ? json(adapter.id) : file_identity(adapter.path));
    for (const AdapterCopy& copy : adapter.copies) adapters.back() = {adapters.back(), copy.id};
  }
  return {{"api", config.server.api},
          {"model", config.server.model},
          {"server", server},
          {"adapters", adapters},
          {"factor_space", config.merge.factor_space},
          {"alpha", genome.alpha},
          {"beta", genome.beta}};
}

}  // namespace paretod::llm
