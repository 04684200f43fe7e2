#include "adapters/llm/request_template.hpp"

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "adapters/json/json_text.hpp"

namespace paretod::llm {

RequestTemplate::RequestTemplate(const WireRequest& request) : path_(request.path) {
  const std::string whole = request.body.dump();
  std::string slot(text_slot);
  if (whole.find(slot) == std::string::npos) slot = nlohmann::json(token_slot).dump();
  const std::size_t at = whole.find(slot);
  if (at == std::string::npos || whole.find(slot, at + 1) != std::string::npos) {
    throw std::logic_error("a request template needs its slot exactly once");
  }
  before_ = whole.substr(0, at);
  after_ = whole.substr(at + slot.size());
}

std::string RequestTemplate::body(std::string_view text) const {
  std::string out;
  out.reserve(before_.size() + text.size() + after_.size() + 64);
  out += before_;
  append_json_escaped(out, text);
  return out += after_;
}

std::string RequestTemplate::body(const std::vector<int>& tokens, std::size_t count) const {
  std::string out = before_ + "[";
  for (std::size_t i = 0; i < count; ++i) {
    if (i > 0) out += ',';
    append_json_number(out, std::int64_t{tokens[i]});
  }
  return out += "]" + after_;
}

}  // namespace paretod::llm
