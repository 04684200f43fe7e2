#include "evaluators/llm/materialiser.hpp"

#include <utility>

namespace paretod::llm {

namespace fs = std::filesystem;

Result<std::unique_ptr<Materialiser>> Materialiser::open(const MergeConfig& config) {
  std::error_code trouble;
  fs::create_directories(config.folder, trouble);
  if (trouble) {
    return Error{ErrorKind::unavailable,
                 "cannot make the folder " + config.folder.string() + ": " + trouble.message()};
  }
  auto directory = WeightsDirectory::open(config.folder.string());
  if (!directory) return directory.error();
  // The server may run as somebody else: whoever may look into merge.folder may look into this.
  fs::permissions(directory->path(), fs::status(config.folder, trouble).permissions(), trouble);
  std::unique_ptr<Materialiser> out(new Materialiser(config, std::move(*directory)));
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
  const fs::path home(directory_.path());
  if (auto written = write_peft(out, (home / name).string()); !written) return written.error();
  return (fs::path(config_.server_folder) / home.filename() / name).string();
}

void Materialiser::remove(const std::string& name) const {
  std::error_code ignored;
  fs::remove_all(fs::path(directory_.path()) / name, ignored);
}

bool Materialiser::orphaned(const std::string& path) const {
  const fs::path home = fs::path(path).lexically_normal().parent_path();
  const fs::path process = home.filename();
  if (!WeightsDirectory::names_one(process.string()) ||
      home != (fs::path(config_.server_folder) / process).lexically_normal()) {
    return false;
  }
  // open() has removed those of all that are no more.
  std::error_code trouble;
  return fs::status(config_.folder / process, trouble).type() == fs::file_type::not_found;
}

}  // namespace paretod::llm
