#include "adapters/llm/dialect.hpp"

#include <stdexcept>

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

json to_json(const Completion& completion) {
  json out{{"text", completion.text},
           {"finish", completion.finish},
           {"prompt_tokens", completion.usage.prompt_tokens},
           {"output_tokens", completion.usage.output_tokens},
           {"cached_tokens", completion.usage.cached_tokens}};
  if (!completion.fingerprint.empty()) out["fingerprint"] = completion.fingerprint;
  if (!completion.logprobs.empty()) {
    out["logprobs"] = completion.logprobs;
    out["greedy"] = completion.greedy;
    if (completion.beyond) out["beyond"] = true;
  }
  for (const auto& [text, logprob] : completion.first) out["first"].push_back({text, logprob});
  return out;
}

Result<Completion> completion_from_json(const json& value) {
  ReplyReader reader(value);
  Completion out;
  out.text = reader.text("/text");
  out.finish = reader.text("/finish");
  out.usage = {reader.count("/prompt_tokens"), reader.count("/output_tokens"),
               reader.count_or("/cached_tokens", 0)};
  out.fingerprint = reader.text_or("/fingerprint", "");
  if (const json* list = reader.find("/logprobs"); list != nullptr && list->is_array()) {
    for (const json& item : *list) out.logprobs.push_back(reader.number(item, "a log-probability"));
    const json* greedy = reader.find("/greedy");
    out.greedy = greedy != nullptr && *greedy == true;
    const json* beyond = reader.find("/beyond");
    out.beyond = beyond != nullptr && *beyond == true;
  }
  if (const json* list = reader.find("/first"); list != nullptr && list->is_array()) {
    for (const json& item : *list) {
      if (!item.is_array() || item.size() != 2 || !item[0].is_string()) {
        reader.blame("an alternative has to be a text and a number");
        break;
      }
      out.first.emplace_back(item[0].get<std::string>(),
                             reader.number(item[1], "a log-probability"));
    }
  }
  if (reader.failed()) return reader.error();
  return out;
}

WireRequest Dialect::score(const std::string&, const std::string&, const Selection&) const {
  not_offered();
}
Result<Completion> Dialect::read_score(const json&, const std::string&, bool) const {
  not_offered();
}
WireRequest Dialect::tokenize(const std::string&) const {
  not_offered();
}
Result<std::vector<int>> Dialect::read_tokens(const json&) const {
  not_offered();
}
WireRequest Dialect::score_token(const std::vector<int>&, const Selection&, std::size_t) const {
  not_offered();
}
Result<Completion> Dialect::read_token_score(const json&, int) const {
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
