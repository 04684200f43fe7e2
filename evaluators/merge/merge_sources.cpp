#include "evaluators/merge/merge_sources.hpp"

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <utility>

#include "evaluators/process/text.hpp"
#include "optimizers/core/rng.hpp"

namespace paretod {
namespace {

namespace fs = std::filesystem;

/// Names in one message.
constexpr std::size_t most_examples_named = 3;
/// std::regex recurses along its subject.
constexpr std::size_t longest_matched_name = 1024;
constexpr std::size_t longest_merge_name = 32;

std::string in_quotes(std::string_view name) {
  return "\"" + printable_text(name, 100) + "\"";
}

/// "a", "b" and 7 more
class Examples {
 public:
  void add(std::string example) {
    if (count_++ < most_examples_named) text_ += (text_.empty() ? "" : ", ") + std::move(example);
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::string text() const {
    if (count_ <= most_examples_named) return text_;
    return text_ + " and " + std::to_string(count_ - most_examples_named) + " more";
  }

 private:
  std::size_t count_ = 0;
  std::string text_;
};

bool is_float(DType dtype) {
  return dtype == DType::f64 || dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

/// What the tensors of a model differ in from those of the first; empty when in nothing.
/// `importance`: of floats alone, and more tensors are no difference.
std::string difference(const ModelFiles& first, const ModelFiles& other, bool importance) {
  Examples missing;
  Examples shapes;
  Examples kinds;
  Examples extra;
  for (const auto& [name, tensor] : first.tensors()) {
    if (importance && !is_float(tensor.dtype)) continue;
    const TensorView* found = other.find(name);
    if (found == nullptr) {
      missing.add(in_quotes(name));
    } else if (found->shape != tensor.shape) {
      shapes.add(in_quotes(name) + " is " + to_string(found->shape) + " instead of " +
                 to_string(tensor.shape));
    } else if (is_float(found->dtype) != is_float(tensor.dtype) ||
               (!is_float(tensor.dtype) && found->dtype != tensor.dtype)) {
      kinds.add(in_quotes(name) + " is " + std::string(name_of(found->dtype)) + " instead of " +
                std::string(name_of(tensor.dtype)));
    }
  }
  for (const auto& [name, tensor] : other.tensors()) {
    if (!importance && first.find(name) == nullptr) extra.add(in_quotes(name));
  }
  std::string text;
  const auto say = [&text](const Examples& examples, const char* what) {
    if (!examples.empty()) text += (text.empty() ? "" : "; ") + std::string(what) + examples.text();
  };
  say(missing, "it lacks ");
  say(extra, "only it has ");
  say(shapes, "of another shape: ");
  say(kinds, "of another dtype: ");
  return text;
}

/// Decides which group a tensor belongs to.
class Grouping {
 public:
  static Result<Grouping> of(const MergeRule& rule) {
    Grouping grouping;
    Problems problems;
    for (std::size_t g = 0; g < rule.groups.size(); ++g) {
      auto& compiled = grouping.groups_.emplace_back();
      for (std::size_t i = 0; i < rule.groups[g].patterns.size(); ++i) {
        const TensorPattern& pattern = rule.groups[g].patterns[i];
        compiled.push_back({pattern, {}});
        if (pattern.kind != TensorPattern::Kind::regex) continue;
        try {
          compiled.back().expression.assign(pattern.text,
                                            std::regex::ECMAScript | std::regex::optimize);
        } catch (const std::regex_error& error) {
          problems.push_back({"/groups/" + std::to_string(g) + "/match/" + std::to_string(i),
                              std::string("is no regular expression: ") + error.what()});
        }
      }
    }
    if (!problems.empty()) return invalid("the groups of the merge are not valid", problems);
    return grouping;
  }

  [[nodiscard]] std::size_t group_of(const std::string& name) const {
    std::size_t g = 0;
    while (g < groups_.size() && std::none_of(groups_[g].begin(), groups_[g].end(),
                                              [&](const auto& p) { return matches(p, name); })) {
      ++g;
    }
    return g;
  }

 private:
  struct Compiled {
    TensorPattern pattern;
    std::regex expression;
  };
  static bool matches(const Compiled& compiled, const std::string& name) {
    switch (compiled.pattern.kind) {
      case TensorPattern::Kind::prefix:
        return name.starts_with(compiled.pattern.text);
      case TensorPattern::Kind::contains:
        return name.find(compiled.pattern.text) != std::string::npos;
      case TensorPattern::Kind::regex:
        return std::regex_search(name, compiled.expression);
    }
    return false;
  }

  std::vector<std::vector<Compiled>> groups_;
};

Problems check_paths(const MergePaths& paths, const MergeRule& rule) {
  Problems problems;
  const MergeTraits traits = traits_of(rule.method);
  const std::string method(name_of(rule.method));
  if (traits.uses_base && paths.base.empty()) {
    problems.push_back(
        {"/base", "is required: " + method + " merges what the sources add to a base model"});
  }
  if (paths.sources.empty()) problems.push_back({"/sources", "has to name at least one model"});
  if (rule.method == MergeMethod::slerp && paths.sources.size() != 2) {
    problems.push_back({"/sources", "slerp merges exactly two models, not " +
                                        std::to_string(paths.sources.size())});
  }
  std::set<std::string> names;
  for (std::size_t k = 0; k < paths.sources.size(); ++k) {
    const std::string at = "/sources/" + std::to_string(k);
    const MergePaths::Source& source = paths.sources[k];
    if (!is_merge_name(source.name)) {
      problems.push_back({at + "/name", "has to have 1 to 32 letters, digits, '_' or '-'"});
    } else if (!names.insert(source.name).second) {
      problems.push_back({at + "/name", "names another source too"});
    }
    if (source.path.empty()) problems.push_back({at + "/path", "is required"});
    if (rule.method == MergeMethod::fisher && source.importance.empty()) {
      problems.push_back({at + "/importance",
                          "is required: fisher weighs each element by a model of importances"});
    }
  }
  return problems;
}

/// Of files, without reading them.
std::string version_of(const std::vector<ModelFiles>& models) {
  std::uint64_t hash = 0;
  const auto add = [&hash](std::string_view text) {
    for (const unsigned char c : text) hash = mix64(hash, c);
  };
  for (const ModelFiles& model : models) {
    for (const SafetensorsFile& file : model.files()) {
      add(file.path());
      std::error_code failure;
      hash = mix64(hash, fs::file_size(file.path(), failure));
      const auto changed = fs::last_write_time(file.path(), failure).time_since_epoch().count();
      hash = mix64(hash, static_cast<std::uint64_t>(changed));
      for (const TensorView& tensor : file.tensors()) add(tensor.name + to_string(tensor.shape));
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

}  // namespace

bool is_merge_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_merge_name &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; });
}

Result<MergeSources> MergeSources::open(const MergePaths& paths, const MergeRule& rule,
                                        std::optional<DType> dtype) {
  Problems problems = check_paths(paths, rule);
  if (dtype && *dtype != DType::f32 && *dtype != DType::f16 && *dtype != DType::bf16) {
    problems.push_back({"/dtype", "has to be F32, F16 or BF16"});
  }
  auto grouping = Grouping::of(rule);
  if (!grouping) {
    const Problems& found = grouping.error().problems;
    problems.insert(problems.end(), found.begin(), found.end());
  }
  if (!problems.empty()) return invalid("the merge is not valid", std::move(problems));

  // The base (if any), the sources, their importances.
  MergeSources opened;
  opened.paths_ = paths;
  std::vector<std::string> pointers;
  const auto add = [&](const std::string& path, const std::string& pointer) {
    auto model = ModelFiles::open(path);
    if (model) {
      opened.models_.push_back(std::move(*model));
      pointers.push_back(pointer);
    } else {
      problems.push_back({pointer, model.error().text()});
    }
  };
  if (!paths.base.empty()) add(paths.base, "/base");
  const std::size_t first_source = paths.base.empty() ? 0 : 1;
  for (std::size_t k = 0; k < paths.sources.size(); ++k) {
    add(paths.sources[k].path, "/sources/" + std::to_string(k) + "/path");
  }
  if (rule.method == MergeMethod::fisher) {
    for (std::size_t k = 0; k < paths.sources.size(); ++k) {
      add(paths.sources[k].importance, "/sources/" + std::to_string(k) + "/importance");
    }
  }
  if (!problems.empty()) return invalid("a model of the merge cannot be used", problems);

  const ModelFiles& original = opened.models_.front();
  const std::size_t first_importance = first_source + paths.sources.size();
  for (std::size_t m = 1; m < opened.models_.size(); ++m) {
    const std::string text = difference(original, opened.models_[m], m >= first_importance);
    if (text.empty()) continue;
    problems.push_back({pointers[m], opened.models_[m].path() +
                                         " is not of the same architecture as " + original.path() +
                                         ": " + text});
  }
  if (!problems.empty()) return invalid("the models of the merge differ", std::move(problems));

  std::vector<bool> chosen(rule.group_count(), false);
  for (const SafetensorsFile& file : original.files()) {
    for (const TensorView& view : file.tensors()) {
      MergedTensor tensor;
      tensor.original = original.find(view.name);
      tensor.copied = !is_float(view.dtype);
      tensor.layout = {view.name, view.dtype, view.shape};
      if (!tensor.copied && (dtype || view.dtype == DType::f64)) {
        tensor.layout.dtype = dtype.value_or(DType::f32);
      }
      if (view.name.size() > longest_matched_name) {
        return invalid(file.path() + ": tensor " + in_quotes(view.name) +
                       " has a name of more than " + std::to_string(longest_matched_name) +
                       " bytes");
      }
      tensor.group = grouping->group_of(view.name);
      chosen[tensor.group] = true;
      if (first_source == 1) tensor.base = tensor.original;
      for (std::size_t k = 0; k < paths.sources.size(); ++k) {
        tensor.sources.push_back(opened.models_[first_source + k].find(view.name));
      }
      for (std::size_t m = first_importance; m < opened.models_.size() && !tensor.copied; ++m) {
        tensor.importance.push_back(opened.models_[m].find(view.name));
      }
      opened.tensors_.push_back(std::move(tensor));
    }
  }
  for (std::size_t g = 0; g < rule.groups.size(); ++g) {
    if (chosen[g]) continue;
    problems.push_back({"/groups/" + std::to_string(g) + "/match",
                        "chooses no tensor that an earlier group has not; there are " +
                            std::to_string(opened.tensors_.size()) + ", such as " +
                            (opened.tensors_.empty() ? std::string("none")
                                                     : in_quotes(opened.tensors_[0].layout.name))});
  }
  if (!problems.empty()) return invalid("the groups of the merge are not valid", problems);
  opened.version_ = version_of(opened.models_);
  return opened;
}

std::vector<TensorLayout> MergeSources::layouts() const {
  std::vector<TensorLayout> out;
  for (const MergedTensor& tensor : tensors_) out.push_back(tensor.layout);
  return out;
}

std::uint64_t MergeSources::output_bytes() const {
  std::uint64_t bytes = 0;
  for (const MergedTensor& tensor : tensors_) bytes += tensor.layout.bytes();
  return bytes;
}

std::uint64_t MergeSources::input_bytes() const {
  std::uint64_t bytes = 0;
  for (const MergedTensor& tensor : tensors_) bytes += bytes_read(tensor);
  return bytes;
}

std::uint64_t bytes_read(const MergedTensor& tensor) {
  if (tensor.copied) return tensor.original->bytes.size();
  std::uint64_t bytes = tensor.base != nullptr ? tensor.base->bytes.size() : 0;
  for (const TensorView* view : tensor.sources) bytes += view->bytes.size();
  for (const TensorView* view : tensor.importance) bytes += view->bytes.size();
  return bytes;
}

}  // namespace paretod
