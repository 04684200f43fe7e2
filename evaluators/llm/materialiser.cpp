#include "evaluators/llm/materialiser.hpp"

#include <utility>

namespace paretod::llm {

namespace fs = std::filesystem;

Result<std::unique_ptr<Materialiser>> Materialiser::open(const MergeConfig& config) {
  std::unique_ptr<Materialiser> out(new Materialiser(config));
  for (const AdapterConfig& adapter : config.adapters) {
    auto read = read_peft(adapter.path);
    if (!read) return read.error();
    if (out->pool_.empty()) {
      out->first_.dtype = read->dtype;
      out->first_.config = read->config;
    }
    out->pool_.push_back(std::move(read->adapter));
  }
  // Whether they fit together, before anything is paid.
  const std::vector<MergeTerm> terms(out->pool_.size(), {1, 1});
  auto merged =
      config.factor_space ? merge_factors(out->pool_, terms) : merge_deltas(out->pool_, terms);
  if (!merged) return merged.error();
  return out;
}

Result<std::string> Materialiser::write(const Genome& genome, const std::string& name) const {
  std::vector<MergeTerm> terms;
  for (std::size_t i = 0; i < genome.beta.size(); ++i) {
    terms.push_back({genome.alpha[i], genome.beta[i]});
  }
  auto merged = config_.factor_space ? merge_factors(pool_, terms) : merge_deltas(pool_, terms);
  if (!merged) return merged.error();
  PeftAdapter out = first_;
  out.adapter = std::move(*merged);
  if (auto written = write_peft(out, (config_.folder / name).string()); !written) {
    return written.error();
  }
  return (fs::path(config_.server_folder) / name).string();
}

void Materialiser::remove(const std::string& name) const {
  std::error_code ignored;
  fs::remove_all(config_.folder / name, ignored);
}

}  // namespace paretod::llm
