#include "adapters/llm/dialect.hpp"

#include <stdexcept>
#include <utility>

#include "adapters/json/json_text.hpp"
#include "adapters/llm/reply_reader.hpp"

namespace paretod::llm {

using nlohmann::json;

namespace {

[[noreturn]] void not_offered() {
  throw std::logic_error("this dialect was asked for what it does not offer");
}

}  // namespace

std::string Prompt::flat() const {
  std::string out;
  if (!system.empty()) out += system + "\n";
  for (const auto& [question, answer] : shots) out += question + answer + "\n";
  return out + text;
}

std::string json_text(const Completion& completion) {
  std::string out;
  append_json_text(out, completion);
  return out;
}

void append_json_text(std::string& out, const Completion& completion) {
  const char* separator = "{\"";
  // Names are in order, so that equal completions are equal texts.
  const auto name = [&](const char* text) {
    out += std::exchange(separator, ",\"");
    out += text;
    out += "\":";
  };
  const auto count = [&](const char* text, std::uint64_t value) {
    name(text);
    append_json_number(out, value);
  };
  if (completion.beyond && !completion.logprobs.empty()) {
    name("beyond");
    out += "true";
  }
  count("cached_tokens", completion.usage.cached_tokens);
  if (!completion.fingerprint.empty()) {
    name("fingerprint");
    append_json_string(out, completion.fingerprint);
  }
  name("finish");
  append_json_string(out, completion.finish);
  if (!completion.first.empty()) {
    name("first");
    for (std::size_t i = 0; i < completion.first.size(); ++i) {
      out += i == 0 ? "[[" : ",[";
      append_json_string(out, completion.first[i].first);
      out += ',';
      append_json_number(out, completion.first[i].second);
      out += ']';
    }
    out += ']';
  }
  if (!completion.logprobs.empty()) {
    name("greedy");
    out += completion.greedy ? "true" : "false";
    name("logprobs");
    for (std::size_t i = 0; i < completion.logprobs.size(); ++i) {
      out += i == 0 ? '[' : ',';
      append_json_number(out, completion.logprobs[i]);
    }
    out += ']';
  }
  count("output_tokens", completion.usage.output_tokens);
  count("prompt_tokens", completion.usage.prompt_tokens);
  name("text");
  append_json_string(out, completion.text);
  out += '}';
}

Result<Completion> completion_from_json(const JsonNode& value) {
  ReplyReader reader(value);
  Completion out;
  out.text = reader.text("/text");
  out.finish = reader.text("/finish");
  out.usage = {reader.count("/prompt_tokens"), reader.count("/output_tokens"),
               reader.count_or("/cached_tokens", 0)};
  out.fingerprint = reader.text_or("/fingerprint", "");
  if (const JsonNode* list = reader.find("/logprobs"); list != nullptr && list->is_array()) {
    for (const JsonNode& item : list->items()) {
      out.logprobs.push_back(reader.number(item, "a log-probability"));
    }
    const JsonNode* greedy = reader.find("/greedy");
    out.greedy = greedy != nullptr && greedy->is_true();
    const JsonNode* beyond = reader.find("/beyond");
    out.beyond = beyond != nullptr && beyond->is_true();
  }
  if (const JsonNode* list = reader.find("/first")) {
    for (const JsonNode& item : list->items()) {
      if (item.size() != 2 || item.item(0) == nullptr || !item.item(0)->is_string()) {
        reader.blame("an alternative has to be a text and a number");
        break;
      }
      out.first.emplace_back(item.item(0)->text(),
                             reader.number(*item.item(1), "a log-probability"));
    }
  }
  return reader.checked(std::move(out));
}

WireRequest Dialect::score(const std::string&, const std::string&, const Selection&) const {
  not_offered();
}
Result<Completion> Dialect::read_score(const JsonNode&, const std::string&, bool) const {
  not_offered();
}
WireRequest Dialect::tokenize(const std::string&) const {
  not_offered();
}
Result<std::vector<int>> Dialect::read_tokens(const JsonNode&) const {
  not_offered();
}
WireRequest Dialect::score_token(const std::vector<int>&, const Selection&, std::size_t) const {
  not_offered();
}
Result<Completion> Dialect::read_token_score(const JsonNode&, int) const {
  not_offered();
}

std::unique_ptr<Dialect> make_dialect(const std::string& api) {
  if (api == "llama_cpp") return llama_cpp_dialect();
  if (api == "lorax") return lorax_dialect();
  if (api == "vllm") return vllm_dialect();
  if (api == "sglang") return sglang_dialect();
  if (api == "openai") return openai_dialect();
  return nullptr;
}

}  // namespace paretod::llm
