#pragma once
// A base model and two sources in a folder, a recipe over them, and evaluators that search it.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "evaluators/registry.hpp"
#include "tests/support/scratch_directory.hpp"
#include "tests/support/test_models.hpp"

namespace paretod::test {

class MergeFixture {
 public:
  explicit MergeFixture(const std::string& method = "task_arithmetic",
                        std::vector<TensorLayout> layout = {{"layer.0.weight", DType::f32, {11, 7}},
                                                            {"layer.1.weight", DType::f32, {5, 11}},
                                                            {"layer.1.bias", DType::f32, {5}}}) {
    write_model(folder("base"), layout, random_contents(layout, 1));
    write_model(folder("math"), layout, random_contents(layout, 2));
    write_model(folder("code"), layout, random_contents(layout, 3));
    write("recipe.json", R"({"method": ")" + method + R"(",)" +
                             (method == "linear" ? "" : R"("base": "base",)") +
                             R"("sources": [{"name": "math", "path": "math"},
                                            {"name": "code", "path": "code"}]})");
  }

  [[nodiscard]] std::string folder(const std::string& name) const {
    return (scratch_.path() / name).string();
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder(name)) << text;
  }

  /// The program of tests/support/evaluators, or what `fields` says; the folder of weights is
  /// "weights" beside the recipe.
  [[nodiscard]] Result<std::unique_ptr<Evaluator>> make(ParamValues fields = {}) const {
    fields.emplace("recipe", std::string("recipe.json"));
    if (!fields.contains("scorer")) {
      std::filesystem::create_directories(folder("weights"));
      fields.emplace("weights_directory", std::string("weights"));
      fields.emplace("argv",
                     std::vector<std::string>{
                         "python3",
                         std::string(PARETOD_SOURCE_DIR) + "/tests/support/evaluators/merged.py"});
    }
    for (const EvaluatorType& type : evaluator_types()) {
      if (type.name == "merge") {
        return type.create(fields, {.base_directory = scratch_.path().string(), .threads = 2});
      }
    }
    return Error{};
  }

  /// Folders of weights that are there.
  [[nodiscard]] std::size_t weight_folders() const {
    std::size_t count = 0;
    std::error_code gone;  // they come and go
    for (const auto& entry : std::filesystem::directory_iterator(folder("weights"), gone)) {
      std::filesystem::directory_iterator at(entry.path(), gone);
      for (; at != std::filesystem::directory_iterator(); at.increment(gone)) {
        count += at->is_directory(gone) ? 1 : 0;
      }
    }
    return count;
  }

 private:
  ScratchDirectory scratch_;
};

}  // namespace paretod::test
