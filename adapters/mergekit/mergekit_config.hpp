#pragma once
// A merge configuration of mergekit (arcee-ai/mergekit, mergekit/config.py), written as YAML.  Only
// what merges of whole models need.  Pure functions; any thread.

#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace paretod {

/// A parameter's value, possibly by tensor: the first entry whose filter is part of the tensor's
/// name holds, an entry without a filter for all others.
struct MergekitSetting {
  struct Entry {
    std::optional<std::string> filter;
    std::variant<bool, double> value;
  };
  std::string name;
  std::vector<Entry> entries;
};

struct MergekitConfig {
  struct Model {
    std::string path;
    std::vector<MergekitSetting> parameters;
  };
  std::vector<std::string> comments;
  std::string merge_method;
  std::string base_model;  ///< empty: none
  std::vector<Model> models;
  std::vector<MergekitSetting> parameters;
  std::string dtype;      ///< of the arithmetic
  std::string out_dtype;  ///< of what is written
};

std::string to_yaml(const MergekitConfig& config);

}  // namespace paretod
