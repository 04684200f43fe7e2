#include "evaluators/llm/llm_config.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/llm/request_template.hpp"

namespace paretod::llm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// Adapters whose pairs a server may be asked to have.
constexpr std::size_t most_paired = 16;

bool one_of(const std::string& text, std::initializer_list<const char*> list) {
  return std::any_of(list.begin(), list.end(), [&text](const char* item) { return text == item; });
}

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 58 &&
         text.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
             std::string::npos;
}

class ConfigReader {
 public:
  ConfigReader(const json& document, fs::path base) : document_(document), base_(std::move(base)) {}

  Result<LlmConfig> read() {
    ObjectReader reader(document_, "", problems_);
    reader.find("$schema");
    config_.name = reader.string("name").value_or("llm");
    config_.slots = static_cast<std::size_t>(reader.count("slots").value_or(4));
    if (config_.slots < 1 || config_.slots > 1024) {
      reader.refuse("slots", "has to be between 1 and 1024");
    }
    config_.missing_share = number(reader, "missing_share", 0, 0, 0.5);
    if (const json* object = reader.require("server")) read_server(*object);
    if (const json* object = reader.require("provider")) read_provider(*object);
    if (const json* object = reader.find("merge")) read_merge(*object);
    if (const json* object = reader.find("sampling")) read_sampling(*object);
    if (const json* object = reader.find("genes")) read_genes(*object);
    if (config_.server.api == "loss_oracle") {
      config_.objectives.push_back({"loss", Goal::minimize, "score", 0, {}});
    } else {
      if (const json* list = reader.require("tasks")) read_tasks(*list);
      if (const json* list = reader.require("objectives")) read_objectives(*list);
    }
    reader.refuse_others();
    if (problems_.empty()) check();
    if (!problems_.empty()) {
      return invalid("the configuration is not valid", std::move(problems_));
    }
    return std::move(config_);
  }

 private:
  double number(ObjectReader& reader, const std::string& name, double absent, double low,
                double high) {
    const double value = reader.number(name).value_or(absent);
    if (!(value >= low && value <= high)) {
      std::ostringstream text;
      text << "has to be between " << low << " and " << high;
      reader.refuse(name, text.str());
    }
    return value;
  }

  fs::path path_of(const std::string& text) const { return (base_ / text).lexically_normal(); }

  void read_server(const json& object) {
    ObjectReader reader(object, "/server", problems_);
    ServerConfig& server = config_.server;
    reader.require("api");
    server.api = reader.string("api").value_or("");
    if (!one_of(server.api, {"llama_cpp", "lorax", "vllm", "sglang", "openai", "loss_oracle"})) {
      reader.refuse("api", "has to be llama_cpp, lorax, vllm, sglang, openai or loss_oracle");
    }
    reader.require("url");
    server.url = reader.string("url").value_or("");
    while (server.url.ends_with('/')) server.url.pop_back();
    if (!server.url.starts_with("http://") && !server.url.starts_with("https://")) {
      reader.refuse("url", "has to begin with http:// or https://");
    }
    server.model = reader.string("model").value_or("");
    if (server.model.empty() && one_of(server.api, {"openai", "vllm"})) {
      reader.refuse("model", "is required: requests name the model");
    }
    server.key_env = reader.string("key_env").value_or("");
    const auto key_file = reader.string("key_file");
    if (key_file) server.key_file = path_of(*key_file).string();
    server.timeout_s = number(reader, "timeout_s", 120, 0.05, 3'600);
    server.retries = static_cast<std::uint32_t>(number(reader, "retries", 4, 0, 20));
    server.allow_private = reader.boolean("allow_private").value_or(false);
    server.probe = reader.boolean("probe").value_or(true);
    server.alternatives =
        static_cast<std::size_t>(number(reader, "alternatives", 20, 1, 1'000'000));
    if (const json* sessions = reader.find("sessions")) {
      ObjectReader splits(*sessions, "/server/sessions", problems_);
      for (std::size_t i = 0; i < split_names.size(); ++i) {
        if (const json* session = splits.require(split_names[i])) {
          server.sessions[i] = session->dump();
        }
      }
      splits.refuse_others();
    } else if (server.api == "loss_oracle") {
      reader.refuse("sessions", "is required: what search, select and report are to be sent");
    }
    reader.refuse_others();
  }

  /// A decimal number in quotes, so that no float stands between it and its value.
  std::int64_t money(ObjectReader& reader, const std::string& name) {
    const auto text = reader.string(name);
    if (!text) return 0;
    const auto micros = micros_of(*text);
    if (!micros) reader.refuse(name, "has to be a decimal number in quotes, such as \"0.15\"");
    return micros.value_or(0);
  }

  void read_provider(const json& object) {
    ObjectReader reader(object, "/provider", problems_);
    reader.require("state");
    config_.state = path_of(reader.string("state").value_or("state"));
    config_.limits.requests_per_min = number(reader, "requests_per_min", 0, 0, 1e7);
    config_.limits.tokens_per_min = number(reader, "tokens_per_min", 0, 0, 1e12);
    config_.limits.concurrency =
        static_cast<std::size_t>(number(reader, "concurrency", 8, 1, 10'000));
    config_.resend_unknown = reader.boolean("resend_unknown").value_or(false);
    config_.tokens_per_byte = number(reader, "tokens_per_byte", 1, 0.05, 4);
    config_.extra_tokens = static_cast<std::uint64_t>(number(reader, "extra_tokens", 64, 0, 1e6));
    if (const json* prices = reader.find("prices")) {
      ObjectReader list(*prices, "/provider/prices", problems_);
      for (const char* name : {"version", "currency", "input_per_million", "output_per_million"}) {
        list.require(name);
      }
      config_.prices.version = list.string("version").value_or("");
      config_.prices.currency = list.string("currency").value_or("");
      const std::string& currency = config_.prices.currency;
      if (currency.size() != 3 || !std::all_of(currency.begin(), currency.end(),
                                               [](char c) { return c >= 'A' && c <= 'Z'; })) {
        list.refuse("currency", "has to be three capital letters, such as \"USD\"");
      }
      config_.prices.input = money(list, "input_per_million");
      config_.prices.output = money(list, "output_per_million");
      config_.prices.cached_input = list.find("cached_input_per_million") == nullptr
                                        ? config_.prices.input
                                        : money(list, "cached_input_per_million");
      list.refuse_others();
    }
    if (const json* caps = reader.find("caps")) {
      ObjectReader list(*caps, "/provider/caps", problems_);
      config_.caps.day = money(list, "day");
      config_.caps.job = money(list, "job");
      list.refuse_others();
    }
    if (config_.prices.paid() && config_.caps.day == 0) {
      reader.refuse("caps",
                    "needs \"day\", what may be spent in a day: the provider charges money");
    }
    reader.refuse_others();
  }

  void read_merge(const json& object) {
    ObjectReader reader(object, "/merge", problems_);
    MergeConfig& merge = config_.merge;
    const std::string space =
        reader.string("space").value_or(config_.server.api == "llama_cpp" ? "delta" : "factor");
    if (!one_of(space, {"factor", "delta"})) reader.refuse("space", "has to be factor or delta");
    merge.factor_space = space == "factor";
    merge.alpha = reader.boolean("alpha").value_or(false);
    merge.bound = number(reader, "bound", 1.5, 1e-6, 1e6);
    merge.folder = path_of(reader.string("folder").value_or("merged"));
    merge.server_folder = reader.string("server_folder").value_or(merge.folder.string());
    const json* list = reader.require("adapters");
    if (list != nullptr && (!list->is_array() || list->empty() || list->size() > 512)) {
      reader.refuse("adapters", "has to be an array of 1 to 512 adapters");
    } else if (list != nullptr) {
      for (std::size_t i = 0; i < list->size(); ++i) read_adapter((*list)[i], i);
    }
    reader.refuse_others();
  }

  void read_adapter(const json& object, std::size_t index) {
    const std::string pointer = "/merge/adapters/" + std::to_string(index);
    ObjectReader reader(object, pointer, problems_);
    AdapterConfig adapter;
    reader.require("name");
    adapter.name = reader.string("name").value_or("");
    if (!is_name(adapter.name)) {
      reader.refuse("name", "has to be 1 to 58 letters, digits, '_' or '-'");
    }
    for (const AdapterConfig& other : config_.merge.adapters) {
      if (other.name == adapter.name) reader.refuse("name", "is used twice");
    }
    if (const json* id = reader.find("id")) {
      adapter.id = id->is_string() ? id->get<std::string>() : id->dump();
    } else {
      adapter.id = config_.server.api == "llama_cpp" ? std::to_string(index) : adapter.name;
    }
    const auto path = reader.string("path");
    if (path) adapter.path = path_of(*path).string();
    if (!path && one_of(config_.server.api, {"vllm", "sglang"})) {
      reader.refuse("path", "is required: merged adapters are made from it");
    }
    if (const json* copies = reader.find("copies")) {
      for (std::size_t k = 0; copies->is_array() && k < copies->size(); ++k) {
        ObjectReader copy((*copies)[k], pointer + "/copies/" + std::to_string(k), problems_);
        const double keep = number(copy, "keep", 1, 0, 1);
        const json* id = copy.require("id");
        adapter.copies.push_back({keep, id == nullptr     ? ""
                                        : id->is_string() ? id->get<std::string>()
                                                          : id->dump()});
        copy.refuse_others();
      }
    }
    reader.refuse_others();
    config_.merge.adapters.push_back(std::move(adapter));
  }

  void read_sampling(const json& object) {
    ObjectReader reader(object, "/sampling", problems_);
    Sampling& sampling = config_.sampling;
    sampling.max_tokens = static_cast<std::size_t>(number(reader, "max_tokens", 64, 1, 1'000'000));
    sampling.temperature = number(reader, "temperature", 0, 0, 2);
    sampling.top_p = number(reader, "top_p", 1, 0.001, 1);
    sampling.stop = reader.strings("stop").value_or(std::vector<std::string>{});
    if (sampling.stop.size() > 4) reader.refuse("stop", "may hold at most 4 texts");
    sampling.seed = reader.count("seed").value_or(1);
    reader.refuse_others();
  }

  void read_genes(const json& object) {
    ObjectReader reader(object, "/genes", problems_);
    for (const char* name : {"temperature", "top_p"}) {
      const json* range = reader.find(name);
      if (range == nullptr) continue;
      ObjectReader bounds(*range, std::string("/genes/") + name, problems_);
      const bool is_top_p = std::string(name) == "top_p";
      RangeGene gene{name, number(bounds, "low", is_top_p ? 0.1 : 0, is_top_p ? 0.001 : 0, 2),
                     number(bounds, "high", 1, 0, is_top_p ? 1 : 2)};
      if (gene.low >= gene.high) bounds.refuse("high", "has to be above low");
      bounds.refuse_others();
      config_.ranges.push_back(gene);
    }
    if (const json* choices = reader.find("system")) {
      ObjectReader labels(*choices, "/genes/system", problems_);
      const json none = json::object();
      for (const auto& item : (labels.is_object() ? *choices : none).items()) {
        config_.prompts.system.emplace_back(item.key(), labels.string(item.key()).value_or(""));
      }
    }
    if (const json* choices = reader.find("shots")) read_shots(*choices);
    reader.refuse_others();
  }

  void read_shots(const json& choices) {
    ObjectReader labels(choices, "/genes/shots", problems_);
    if (!labels.is_object()) return;
    for (const auto& item : choices.items()) {
      std::vector<std::pair<std::string, std::string>> shots;
      if (!item.value().is_array()) {
        labels.refuse(item.key(), "has to be an array of {\"prompt\", \"answer\"}");
        continue;
      }
      for (std::size_t i = 0; i < item.value().size(); ++i) {
        ObjectReader shot(item.value()[i], labels.pointer_to(item.key()) + "/" + std::to_string(i),
                          problems_);
        shot.require("prompt");
        shot.require("answer");
        shots.emplace_back(shot.string("prompt").value_or(""), shot.string("answer").value_or(""));
        shot.refuse_others();
      }
      config_.prompts.shots.emplace_back(item.key(), std::move(shots));
    }
  }

  void read_tasks(const json& list) {
    if (!list.is_array() || list.empty()) {
      problems_.push_back({"/tasks", "has to be an array of at least one task"});
      return;
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      ObjectReader reader(list[i], "/tasks/" + std::to_string(i), problems_);
      TaskConfig task;
      reader.require("name");
      task.name = reader.string("name").value_or("");
      task.templates.prompt = reader.string("prompt").value_or(task.templates.prompt);
      task.templates.answer = reader.string("answer").value_or(task.templates.answer);
      task.templates.choice = reader.string("choice").value_or(task.templates.choice);
      task.system = reader.string("system").value_or("");
      for (std::size_t split = 0; split < split_names.size(); ++split) {
        reader.require(split_names[split]);
        const auto file = reader.string(split_names[split]);
        if (!file) continue;
        auto examples = read_examples(path_of(*file).string(), task.templates);
        if (examples) {
          task.splits[split] = std::move(*examples);
        } else {
          reader.refuse(split_names[split], examples.error().message);
        }
      }
      if (auto disjoint = check_disjoint(task.splits); !disjoint) {
        reader.refuse("search", disjoint.error().message);
      }
      reader.refuse_others();
      config_.tasks.push_back(std::move(task));
    }
  }

  void read_objectives(const json& list) {
    if (!list.is_array() || list.empty() || list.size() > 8) {
      problems_.push_back({"/objectives", "has to be an array of 1 to 8 objectives"});
      return;
    }
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string pointer = "/objectives/" + std::to_string(i);
      ObjectReader reader(list[i], pointer, problems_);
      ObjectiveConfig objective;
      reader.require("name");
      objective.name = reader.string("name").value_or("");
      const std::string scorer = reader.string("scorer").value_or("");
      const auto normalise = reader.strings("normalise").value_or(std::vector<std::string>{});
      const std::string pattern = reader.string("pattern").value_or("");
      const std::string task =
          reader.string("task").value_or(config_.tasks.empty() ? "" : config_.tasks[0].name);
      const auto found =
          std::find_if(config_.tasks.begin(), config_.tasks.end(),
                       [&task](const TaskConfig& candidate) { return candidate.name == task; });
      if (found == config_.tasks.end()) {
        reader.refuse("task", "there is no task of that name");
      } else {
        objective.task = static_cast<std::size_t>(found - config_.tasks.begin());
      }
      if (scorer == "output_tokens" || scorer == "money") {
        objective.source = scorer;
      } else {
        auto made = Scorer::make(scorer, normalise, pattern);
        if (made) {
          objective.goal = made->goal();
          objective.scorer = std::move(*made);
        } else {
          for (const Problem& problem : made.error().problems) {
            problems_.push_back({pointer + problem.pointer, problem.message});
          }
        }
      }
      reader.refuse_others();
      config_.objectives.push_back(std::move(objective));
    }
  }

  /// What parts demand of each other.
  void check() {
    const auto refuse = [this](const char* pointer, const std::string& why) {
      problems_.push_back({pointer, why});
    };
    if (document_.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).find(text_slot) !=
        std::string::npos) {
      refuse("", "holds the text " + std::string(text_slot) + ", which is reserved");
    }
    const std::string& api = config_.server.api;
    const MergeConfig& merge = config_.merge;
    const bool any = !merge.adapters.empty();
    if (any && api == "openai") refuse("/merge", "hosted chat models take no adapters");
    if (!any && one_of(api, {"lorax", "sglang", "loss_oracle"})) {
      refuse("/merge", "is required: what this server is asked to merge");
    }
    if (any && api == "lorax" && !merge.factor_space) {
      refuse("/merge/space", "LoRAX merges factors only");
    }
    const bool pairs = any && api == "llama_cpp" && merge.factor_space;
    if (pairs && merge.adapters.size() > most_paired) {
      refuse("/merge/space",
             "llama.cpp adds deltas, so the factor space takes every pair of adapters, which "
             "is too many for more than " +
                 std::to_string(most_paired));
    }
    if (pairs && merge.alpha) {
      refuse("/merge/alpha",
             "goes with the factor space of llama.cpp only by pruning adapters before they are "
             "paired");
    } else if (merge.alpha && one_of(api, {"llama_cpp", "lorax"})) {
      for (std::size_t i = 0; i < merge.adapters.size(); ++i) {
        if (merge.adapters[i].copies.empty()) {
          refuse("/merge/adapters",
                 "with \"alpha\" every adapter needs \"copies\": this server "
                 "cannot leave out entries itself");
          break;
        }
      }
    }
    const auto dialect = make_dialect(api);
    for (std::size_t i = 0; dialect && i < config_.objectives.size(); ++i) {
      const ObjectiveConfig& objective = config_.objectives[i];
      if (!objective.scorer) continue;
      const std::string pointer = "/objectives/" + std::to_string(i) + "/scorer";
      const Needs needs = objective.scorer->needs();
      if (needs.scored_text() && dialect->scores_text() == ScoresText::no) {
        refuse(pointer.c_str(), "needs log-probabilities of given texts, which " + api +
                                    " does not give; take one that scores text");
      }
      if (needs.alternatives && !dialect->gives_alternatives()) {
        refuse(pointer.c_str(),
               "needs log-probabilities of generated tokens, which " + api + " does not give");
      }
      if (!objective.scorer->needs_choices()) continue;
      for (const auto& split : config_.tasks[objective.task].splits) {
        if (std::any_of(split.begin(), split.end(),
                        [](const Example& example) { return example.choices.empty(); })) {
          refuse(pointer.c_str(), "needs \"choices\" in every example");
          break;
        }
      }
    }
    std::set<std::string> names;
    for (const ObjectiveConfig& objective : config_.objectives) {
      if (!is_name(objective.name) || !names.insert(objective.name).second) {
        refuse("/objectives", "their names have to differ, of letters, digits, '_' or '-'");
        break;
      }
    }
    if (!any && config_.ranges.empty() && config_.prompts.system.empty() &&
        config_.prompts.shots.empty()) {
      refuse("", "nothing can be searched: \"merge\" or \"genes\" is required");
    }
  }

  const json& document_;
  const fs::path base_;
  Problems problems_;
  LlmConfig config_;
};

}  // namespace

Result<LlmConfig> llm_config_from_json(const json& document, const fs::path& base) {
  return ConfigReader(document, base).read();
}

Result<LlmConfig> read_llm_config(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream content;
  if (in) content << in.rdbuf();
  if (!in) return Error{ErrorKind::not_found, "cannot read " + path.string()};
  const auto document = parse_json(content.str());
  if (!document) return invalid(path.string() + ": " + document.error().text());
  std::error_code error;
  auto config = llm_config_from_json(*document, fs::absolute(path, error).parent_path());
  if (!config) {
    Error named = config.error();
    named.message = path.string() + ": " + named.message;
    return named;
  }
  return config;
}

}  // namespace paretod::llm
