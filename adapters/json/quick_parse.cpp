#include "adapters/json/quick_parse.hpp"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "adapters/json/quick_reader.hpp"

namespace paretod {
namespace {

using nlohmann::json;

struct Tree {
  using Slot = json*;

  static void null(Slot) {}  // as it was made
  template <class T>
  static void number(Slot slot, T value) {
    *slot = value;
  }
  static void boolean(Slot slot, bool value) { *slot = value; }
  static void text(Slot slot, std::string_view text, bool) { *slot = text; }
  static void object(Slot slot) { *slot = json::object(); }
  static void array(Slot slot) { *slot = json::array(); }
  static void close(Slot) {}
  static bool member(Slot object, std::string_view key, bool, Slot& value) {
    const auto [member, fresh] =
        object->get_ref<json::object_t&>().try_emplace(std::string(key), nullptr);
    value = &member->second;
    return fresh;
  }
  static Slot item(Slot array) { return &array->get_ref<json::array_t&>().emplace_back(); }
};

}  // namespace

std::optional<json> parse_json_quickly(std::string_view text, const JsonLimits& limits) {
  json out;
  Tree tree;
  if (!QuickReader<Tree>(text, limits, tree).document(&out)) return std::nullopt;
  return out;
}

}  // namespace paretod
