// PEFT folders, and what the merge does to the model behind them: acceptance tests (a), (b), (c),
// (f) of Evo-Merging against a model that merges by itself, in double precision.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "evaluators/llm/genome.hpp"
#include "evaluators/llm/materialiser.hpp"
#include "evaluators/llm/peft_files.hpp"
#include "tests/support/llm/toy_model.hpp"
#include "tests/support/scratch_directory.hpp"

namespace paretod::llm {
namespace {

namespace fs = std::filesystem;
using paretod::testing::ToyDelta;
using paretod::testing::ToyModel;
using ::testing::HasSubstr;

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

class Peft : public ::testing::Test {
 protected:
  Peft() : model_({.seed = 3, .useful = 2, .useless = 1, .harmful = 1}) {
    write_toy_files(model_, scratch_.path(), 3, 3, 3);
    for (const auto& adapter : model_.adapters()) {
      config_.adapters.push_back({adapter.name, "", folder("adapters/" + adapter.name)});
    }
    config_.folder = folder("merged");
    config_.server_folder = folder("merged");
  }
  std::string folder(const std::string& name) const {
    return std::string(scratch_.path()) + "/" + name;
  }

  /// The model's change after the file that is written for these coefficients.
  ToyDelta written(const std::vector<double>& alpha, const std::vector<double>& beta) {
    auto opened = Materialiser::open(config_);
    EXPECT_TRUE(opened) << opened.error().text();
    materialiser_ = std::move(*opened);
    Genome genome;
    genome.alpha = alpha;
    genome.beta = beta;
    const std::string name = "c" + std::to_string(++count_);
    const auto path = materialiser_->write(genome, name);
    EXPECT_TRUE(path) << path.error().text();
    path_ = *path;
    return delta_of(path_);
  }
  static ToyDelta delta_of(const std::string& path) {
    const auto read = read_peft(path);
    EXPECT_TRUE(read) << read.error().text();
    std::map<std::string, paretod::testing::ToyFactors> modules;
    for (const LoraModule& module : read->adapter.modules) {
      modules[module.name.substr(std::string("base_model.model.").size())] = {
          module.outputs, module.inputs, module.a, module.b};
    }
    return ToyModel::delta_of(modules, read->adapter.scale);
  }
  static double distance(const ToyDelta& a, const ToyDelta& b) {
    double out = 0;
    for (std::size_t i = 0; i < a.mix.size(); ++i)
      out = std::max(out, std::abs(a.mix[i] - b.mix[i]));
    for (std::size_t i = 0; i < a.head.size(); ++i)
      out = std::max(out, std::abs(a.head[i] - b.head[i]));
    return out;
  }

  test::ScratchDirectory scratch_;
  ToyModel model_;
  MergeConfig config_;
  std::unique_ptr<Materialiser> materialiser_;
  std::string path_;  ///< of what was written last
  int count_ = 0;
};

TEST_F(Peft, OneAdapterAloneIsReproducedBitForBit) {  // (a)
  config_.adapters.resize(1);
  written({1}, {1});
  EXPECT_EQ(content(path_ + "/adapter_model.safetensors"),
            content(config_.adapters[0].path + "/adapter_model.safetensors"));
}

TEST_F(Peft, AFolderIsAsOpenAsWhereItIsAndGoesWithItsProcess) {
  fs::create_directory(config_.folder);
  fs::permissions(config_.folder, fs::perms(0750));
  written({1, 1, 1, 1}, {1, 0, 0, 0});
  const fs::path home = fs::path(path_).parent_path();
  EXPECT_EQ(fs::status(home).permissions(), fs::perms(0750));
  EXPECT_FALSE(materialiser_->orphaned(path_));
  const auto next = Materialiser::open(config_);
  ASSERT_TRUE(next) << next.error().text();
  EXPECT_TRUE(fs::exists(path_)) << "a living process lost its folder";
  EXPECT_FALSE((*next)->orphaned(path_));
  materialiser_.reset();
  EXPECT_FALSE(fs::exists(home));
  EXPECT_TRUE((*next)->orphaned(path_));
}

TEST_F(Peft, OnlyWhatWasWrittenWhereItWritesIsAnOrphan) {
  config_.server_folder = "/srv/merged/";
  const auto opened = Materialiser::open(config_);
  ASSERT_TRUE(opened) << opened.error().text();
  EXPECT_TRUE((*opened)->orphaned("/srv/merged/paretod-merge-abcdef/paretod-1-1"));
  for (const char* other :
       {"", "/srv/merged/paretod-merge-abcdef", "/srv/merged/notes/paretod-1-1",
        "/srv/other/paretod-merge-abcdef/paretod-1-1",
        "/srv/merged/paretod-merge-abcdefg/paretod-1-1",
        "/srv/merged/x/paretod-merge-abcdef/paretod-1-1", "/srv/merged/paretod-merge-abcdef/x/y"}) {
    EXPECT_FALSE((*opened)->orphaned(other)) << other;
  }
}

TEST_F(Peft, AgreesWithTheModelsOwnMergeInBothSpaces) {
  const std::vector<double> alpha{0.25, 1, 0.5, 0.1};
  const std::vector<double> beta{0.75, -0.5, 0.25, 1};
  for (const bool factor_space : {true, false}) {
    config_.factor_space = factor_space;
    EXPECT_LT(distance(written(alpha, beta), model_.merged(alpha, beta, factor_space)), 1e-5);
  }
}

TEST_F(Peft, AllSignsTogetherMatterInDeltaSpaceOnly) {  // (b)
  const std::vector<double> alpha{0.5, 0.5, 1, 1};
  const std::vector<double> beta{0.75, -0.5, 0.25, 0};
  std::vector<double> minus;
  for (const double weight : beta) minus.push_back(-weight);
  EXPECT_EQ(distance(written(alpha, beta), written(alpha, minus)), 0);
  config_.factor_space = false;
  EXPECT_GT(distance(written(alpha, beta), written(alpha, minus)), 0.1);
}

TEST_F(Peft, KeepingNothingIsTheBaseModel) {  // (c)
  EXPECT_EQ(distance(written({0, 0, 0, 0}, {1, 1, 1, 1}), ToyModel::no_delta()), 0);
}

TEST_F(Peft, AllPairsInDeltaSpaceAreTheMergeInFactorSpace) {  // (f)
  const std::vector<double> beta{0.75, -0.5, 0.25, 1};
  const ToyDelta factor = written({1, 1, 1, 1}, beta);
  std::vector<PeftAdapter> singles;
  for (const AdapterConfig& adapter : config_.adapters) singles.push_back(*read_peft(adapter.path));
  config_.factor_space = false;
  config_.adapters.clear();
  std::vector<double> weights;
  for (std::size_t i = 0; i < singles.size(); ++i) {
    for (std::size_t j = 0; j < singles.size(); ++j) {
      PeftAdapter pair = singles[j];
      for (std::size_t m = 0; m < pair.adapter.modules.size(); ++m) {
        pair.adapter.modules[m].b = singles[i].adapter.modules[m].b;
      }
      const std::string path = folder("pair-" + std::to_string(i) + "-" + std::to_string(j));
      ASSERT_TRUE(write_peft(pair, path));
      config_.adapters.push_back({"p" + std::to_string(weights.size()), "", path});
      weights.push_back(beta[i] * beta[j]);
    }
  }
  EXPECT_LT(distance(written(std::vector<double>(weights.size(), 1), weights), factor), 1e-5);
}

TEST_F(Peft, KeepsTheDtypeOfThePool) {
  auto adapter = read_peft(config_.adapters[0].path);
  ASSERT_TRUE(adapter);
  for (const DType dtype : {DType::f16, DType::bf16}) {
    adapter->dtype = dtype;
    const std::string path = folder("narrow-" + std::string(name_of(dtype)));
    ASSERT_TRUE(write_peft(*adapter, path));
    const auto again = read_peft(path);
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(again->dtype, dtype);
    // A second time nothing is lost any more.
    ASSERT_TRUE(write_peft(*again, path + "-again"));
    EXPECT_EQ(content(path + "/adapter_model.safetensors"),
              content(path + "-again/adapter_model.safetensors"));
  }
}

TEST_F(Peft, RefusesAdaptersThatAPlainMergeWouldGetWrong) {
  const std::string path = config_.adapters[0].path;
  const auto problem = [&](const std::string& name, const nlohmann::json& value) {
    nlohmann::json config = nlohmann::json::parse(content(path + "/adapter_config.json"));
    config[name] = value;
    const std::string other = folder("odd");
    fs::remove_all(other);
    fs::copy(path, other);
    std::ofstream(other + "/adapter_config.json") << config.dump();
    const auto read = read_peft(other);
    return read ? std::string() : read.error().text();
  };
  EXPECT_THAT(problem("use_dora", true), HasSubstr("DoRA"));
  EXPECT_THAT(problem("bias", "all"), HasSubstr("biases"));
  EXPECT_THAT(problem("rank_pattern", {{"head", 8}}), HasSubstr("ranks"));
  EXPECT_THAT(problem("modules_to_save", {"embed"}), HasSubstr("whole modules"));
  EXPECT_THAT(problem("r", 8), HasSubstr("rank 4"));
  EXPECT_THAT(problem("r", 0), HasSubstr("/r"));
  EXPECT_THAT(problem("lora_alpha", "high"), HasSubstr("/lora_alpha"));
  EXPECT_EQ(problem("bias", "none"), "");
}

}  // namespace
}  // namespace paretod::llm
