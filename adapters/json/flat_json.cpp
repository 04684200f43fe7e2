#include "adapters/json/flat_json.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "adapters/json/quick_reader.hpp"

namespace paretod {
namespace {

using nlohmann::json;

/// Members among which each new one is looked for; larger objects are for the careful parser.
constexpr std::size_t most_members = 64;

}  // namespace

double JsonNode::number() const {
  switch (kind_) {
    case Kind::count:
      return static_cast<double>(count_);
    case Kind::integer:
      return static_cast<double>(integer_);
    case Kind::real:
      return real_;
    default:
      return 0;
  }
}

const JsonNode* JsonNode::find(std::string_view key) const {
  for (const JsonNode& member : members()) {
    if (member.key_ == key) return &member;
  }
  return nullptr;
}

const JsonNode* JsonNode::item(std::size_t index) const {
  if (!is_array() || index >= size_) return nullptr;
  Iterator at = items().begin();
  while (index-- > 0) ++at;
  return &*at;
}

/// What the quick reader writes to; a slot is the place of a node, since the row may move.
class FlatJson::Row {
 public:
  using Slot = std::size_t;
  explicit Row(FlatJson& document) : document_(document) {}

  void null(Slot) {}
  void boolean(Slot slot, bool value) { at(slot, JsonNode::Kind::boolean).count_ = value ? 1 : 0; }
  void number(Slot slot, std::uint64_t value) { at(slot, JsonNode::Kind::count).count_ = value; }
  void number(Slot slot, std::int64_t value) { at(slot, JsonNode::Kind::integer).integer_ = value; }
  void number(Slot slot, double value) { at(slot, JsonNode::Kind::real).real_ = value; }
  void text(Slot slot, std::string_view text, bool lasting) {
    at(slot, JsonNode::Kind::string).text_ = kept(text, lasting);
  }
  void object(Slot slot) { at(slot, JsonNode::Kind::object); }
  void array(Slot slot) { at(slot, JsonNode::Kind::array); }
  void close(Slot slot) {
    document_.nodes_[slot].span_ = static_cast<std::uint32_t>(document_.nodes_.size() - slot);
  }
  bool member(Slot object, std::string_view key, bool lasting, Slot& value) {
    // An open object does not know its span yet.
    const std::vector<JsonNode>& nodes = document_.nodes_;
    if (nodes[object].size_ >= most_members) return false;
    for (Slot i = object + 1; i < nodes.size(); i += nodes[i].span_) {
      if (nodes[i].key_ == key) return false;
    }
    value = item(object);
    document_.nodes_[value].key_ = kept(key, lasting);
    return true;
  }
  Slot item(Slot array) {
    ++document_.nodes_[array].size_;
    document_.nodes_.emplace_back();
    return document_.nodes_.size() - 1;
  }

 private:
  JsonNode& at(Slot slot, JsonNode::Kind kind) {
    JsonNode& node = document_.nodes_[slot];
    node.kind_ = kind;
    return node;
  }
  std::string_view kept(std::string_view text, bool lasting) {
    return lasting ? text : document_.unescaped_.emplace_back(text);
  }

  FlatJson& document_;
};

FlatJson::FlatJson(const json& tree) {
  add(tree);
}

Result<void> FlatJson::read(std::string_view text, const JsonLimits& limits) {
  nodes_.clear();
  nodes_.emplace_back();
  unescaped_.clear();
  Row row(*this);
  if (QuickReader<Row>(text, limits, row).document(0)) return {};
  nodes_.clear();
  unescaped_.clear();
  const auto tree = parse_json(text, limits);
  add(tree ? *tree : json());
  if (!tree) return tree.error();
  return {};
}

void FlatJson::add(const json& value) {
  const std::size_t place = nodes_.size();
  JsonNode& node = nodes_.emplace_back();
  node.size_ = static_cast<std::uint32_t>(value.is_structured() ? value.size() : 0);
  switch (value.type()) {
    case json::value_t::boolean:
      node.kind_ = JsonNode::Kind::boolean;
      node.count_ = value.get<bool>() ? 1 : 0;
      break;
    case json::value_t::number_unsigned:
      node.kind_ = JsonNode::Kind::count;
      node.count_ = value.get<std::uint64_t>();
      break;
    case json::value_t::number_integer:
      node.kind_ = JsonNode::Kind::integer;
      node.integer_ = value.get<std::int64_t>();
      break;
    case json::value_t::number_float:
      node.kind_ = JsonNode::Kind::real;
      node.real_ = value.get<double>();
      break;
    case json::value_t::string:
      node.kind_ = JsonNode::Kind::string;
      node.text_ = unescaped_.emplace_back(value.get_ref<const std::string&>());
      break;
    case json::value_t::array:
      node.kind_ = JsonNode::Kind::array;
      for (const json& item : value) add(item);
      break;
    case json::value_t::object:
      node.kind_ = JsonNode::Kind::object;
      for (const auto& [key, member] : value.items()) {
        const std::size_t at = nodes_.size();
        add(member);
        nodes_[at].key_ = unescaped_.emplace_back(key);
      }
      break;
    default:
      break;
  }
  nodes_[place].span_ = static_cast<std::uint32_t>(nodes_.size() - place);
}

}  // namespace paretod
