#include "evaluators/process/protocol.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/params_json.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"
#include "evaluators/process/text.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr int protocol_version = 1;
constexpr std::size_t longest_text = 4096;

void append(Problems& problems, const Error& error) {
  problems.insert(problems.end(), error.problems.begin(), error.problems.end());
}

void read_space(ObjectReader& reader, EvaluatorDescription& description, Problems& problems) {
  const json* array = reader.find("space");
  if (array == nullptr) return;
  auto parameters = parameters_from_json(*array, "/space");
  if (!parameters) return append(problems, parameters.error());
  const auto space = SearchSpace::make(*parameters, "/space");
  if (!space) return append(problems, space.error());
  description.space = std::move(*parameters);
}

void read_objectives(ObjectReader& reader, EvaluatorDescription& description, Problems& problems) {
  const json* array = reader.find("objectives");
  if (array == nullptr) return;
  auto objectives = objectives_from_json(*array, "/objectives");
  if (!objectives) return append(problems, objectives.error());
  description.objectives = std::move(*objectives);
}

void read_fidelity(ObjectReader& reader, EvaluatorDescription& description, Problems& problems) {
  const json* object = reader.find("fidelity");
  if (object == nullptr) return;
  ObjectReader fidelity(*object, "/fidelity", problems);
  description.fidelity_unit = fidelity.string("unit").value_or("");
  description.default_fidelity = fidelity.count("default").value_or(0);
  fidelity.refuse_others();
}

void read_params(ObjectReader& reader, EvaluatorDescription& description, Problems& problems) {
  const json* properties = reader.find("params");
  if (properties == nullptr) return;
  auto fields = fields_from_json(*properties, "/params");
  if (!fields) return append(problems, fields.error());
  description.params = std::move(*fields);
}

std::string defect_of(const std::string& what, const std::string& name, const json& value) {
  return what + " \"" + name + "\" has to be a finite number, not " +
         (value.is_string() ? value.get<std::string>().substr(0, 64) : json_type_name(value));
}

/// A number, or {"value","stderr","n"}.
bool read_measurement(const std::string& name, const json& value, Measurement& measurement,
                      std::string& defect) {
  const std::string what = "objective";
  if (value.is_number()) {
    measurement.value = value.get<double>();
    return true;
  }
  if (!value.is_object()) {
    defect = defect_of(what, name, value);
    return false;
  }
  const auto number = value.find("value");
  if (number == value.end() || !number->is_number()) {
    defect = defect_of(what, name, number == value.end() ? value : *number);
    return false;
  }
  measurement.value = number->get<double>();
  if (const auto error = value.find("stderr"); error != value.end() && !error->is_null()) {
    if (!error->is_number() || error->get<double>() < 0) {
      defect = "the stderr of objective \"" + name + "\" has to be a number that is not negative";
      return false;
    }
    measurement.standard_error = error->get<double>();
  }
  if (const auto count = value.find("n"); count != value.end() && !count->is_null()) {
    if (!count->is_number_unsigned()) {
      defect = "the n of objective \"" + name + "\" has to be a whole number that is not negative";
      return false;
    }
    measurement.count = count->get<std::uint64_t>();
  }
  return true;
}

void read_result(const json& document, ResultMessage& message) {
  const auto objectives = document.find("objectives");
  if (objectives != document.end() && !objectives->is_object()) {
    message.defect = "\"objectives\" has to be an object of values by name";
    return;
  }
  if (objectives != document.end()) {
    for (const auto& item : objectives->items()) {
      Measurement measurement;
      if (!read_measurement(item.key(), item.value(), measurement, message.defect)) return;
      message.objectives.emplace(item.key(), measurement);
    }
  }
  if (const auto list = document.find("constraints"); list != document.end() && !list->is_null()) {
    const auto number = [](const json& item) { return item.is_number(); };
    if (!list->is_array() || !std::all_of(list->begin(), list->end(), number)) {
      message.defect = "\"constraints\" has to be an array of numbers";
      return;
    }
    message.constraints = list->get<std::vector<double>>();
  }
  const auto metrics = document.find("metrics");
  if (metrics == document.end() || metrics->is_null()) return;
  if (!metrics->is_object()) {
    message.defect = "\"metrics\" has to be an object of numbers by name";
    return;
  }
  for (const auto& item : metrics->items()) {
    if (!item.value().is_number()) {
      message.defect = defect_of("metric", item.key(), item.value());
      return;
    }
    message.metrics.emplace_back(item.key(), item.value().get<double>());
  }
}

Result<EvaluatorMessage> read_error(const json& document, std::string id) {
  ErrorMessage message;
  message.id = std::move(id);
  const auto kind = document.find("kind");
  const std::string kind_text =
      kind != document.end() && kind->is_string() ? kind->get<std::string>() : "";
  if (kind_text == "infeasible") {
    message.status = TrialStatus::infeasible;
  } else if (kind_text == "transient") {
    message.retry = true;
  } else if (kind_text != "fatal") {
    return invalid("the kind of an error has to be infeasible, transient or fatal");
  }
  const auto text = document.find("message");
  message.text = text != document.end() && text->is_string()
                     ? printable_text(text->get<std::string>(), longest_text)
                     : "the evaluator gave no message";
  return EvaluatorMessage(std::move(message));
}

/// Many JSON writers emit NaN and Infinity, which JSON lacks.  Quoted, they reach the check of
/// the field they stand in, which can name it.
std::string quote_non_finite(std::string_view line) {
  constexpr std::string_view words[] = {"-Infinity", "Infinity", "-NaN", "NaN"};
  std::string out;
  bool in_string = false;
  for (std::size_t i = 0; i < line.size();) {
    std::size_t taken = 1;
    std::string_view found;
    if (in_string) {
      taken = line[i] == '\\' && i + 1 < line.size() ? 2 : 1;
    } else {
      for (const std::string_view word : words) {
        if (found.empty() && line.substr(i).starts_with(word)) found = word;
      }
    }
    if (line[i] == '"') in_string = !in_string;
    if (found.empty()) {
      out += line.substr(i, taken);
    } else {
      taken = found.size();
      ((out += '"') += found) += '"';
    }
    i += taken;
  }
  return out;
}

Result<json> parse_line(std::string_view line) {
  auto document = parse_json(line);
  if (!document && line.find_first_of("NI") != std::string_view::npos) {
    if (auto quoted = parse_json(quote_non_finite(line))) return quoted;
  }
  return document;
}

/// Compact and always valid UTF-8, whatever strings it is made of.
std::string line_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

Result<Hello> parse_hello(std::string_view line) {
  auto document = parse_json(line);
  if (!document) return document.error();
  Problems problems;
  ObjectReader reader(*document, "", problems);
  if (reader.require("paretod") != nullptr &&
      reader.count("paretod").value_or(protocol_version) != protocol_version) {
    reader.refuse("paretod", "has to be 1, the version of the protocol that is spoken here");
  }
  if (reader.require("type") != nullptr && reader.string("type").value_or("hello") != "hello") {
    reader.refuse("type", "has to be \"hello\" in the first line");
  }
  Hello hello;
  EvaluatorDescription& description = hello.description;
  description.summary = reader.string("evaluator").value_or("");
  description.slots = static_cast<std::size_t>(reader.count("slots").value_or(1));
  if (description.slots < 1 || description.slots > 65536) {
    reader.refuse("slots", "has to be between 1 and 65536");
  }
  description.metrics = reader.strings("metrics").value_or(std::vector<std::string>{});
  description.paid = reader.boolean("paid").value_or(false);
  read_space(reader, description, problems);
  read_objectives(reader, description, problems);
  read_fidelity(reader, description, problems);
  read_params(reader, description, problems);
  reader.refuse_others();
  if (!problems.empty()) return invalid("the hello is not valid", std::move(problems));
  hello.canonical = document->dump();
  return hello;
}

Result<EvaluatorMessage> parse_message(std::string_view line) {
  const auto document = parse_line(line);
  if (!document) return document.error();
  if (!document->is_object()) return invalid("a message has to be an object");
  const auto type = document->find("type");
  if (type == document->end() || !type->is_string()) return invalid("a message needs a \"type\"");
  const auto id = document->find("id");
  if (id == document->end() || !id->is_string()) {
    return invalid("a message needs the \"id\" of its request");
  }
  const auto& type_text = type->get_ref<const std::string&>();
  auto id_text = id->get<std::string>();
  if (type_text == "progress") return EvaluatorMessage(ProgressMessage{std::move(id_text)});
  if (type_text == "error") return read_error(*document, std::move(id_text));
  if (type_text != "result") {
    return invalid("the type of a message has to be result, error or progress");
  }
  ResultMessage message;
  message.id = std::move(id_text);
  read_result(*document, message);
  return EvaluatorMessage(std::move(message));
}

EvaluationReply reply_of(const ResultMessage& message, const std::vector<Objective>& objectives) {
  EvaluationReply reply;
  const auto fail = [&](const std::string& defect) {
    reply.outcome = Outcome::failure(TrialStatus::failed, "the evaluator's result is not valid: " +
                                                              printable_text(defect, longest_text));
    return reply;
  };
  if (!message.defect.empty()) return fail(message.defect);
  for (const Objective& objective : objectives) {
    const auto found = message.objectives.find(objective.name);
    if (found == message.objectives.end()) {
      return fail("it lacks the objective \"" + objective.name + "\"");
    }
    reply.outcome.objectives.push_back(found->second);
  }
  reply.outcome.constraints = message.constraints;
  reply.outcome.metrics = message.metrics;
  return reply;
}

EvaluationReply reply_of(const ErrorMessage& message) {
  EvaluationReply reply;
  reply.kind = message.retry ? ReplyKind::transient : ReplyKind::done;
  reply.outcome = Outcome::failure(message.status, message.text);
  return reply;
}

std::string evaluate_line(const EvaluationRequest& request, const EvaluatorDescription& declared) {
  const EvaluationContext& context = *request.context;
  const Candidate& candidate = request.candidate;
  json params = json::object();
  for (const FieldInfo& field : declared.params) params[field.name] = to_json(field.default_value);
  for (const auto& [name, value] : context.params) params[name] = to_json(value);
  json message{{"type", "evaluate"},
               {"id", request.id()},
               {"candidate", candidate_json(context.space, candidate.point)},
               {"replicate", candidate.replicate},
               {"seed", context.seed},
               {"params", std::move(params)}};
  const std::uint64_t fidelity =
      candidate.fidelity > 0 ? candidate.fidelity : declared.default_fidelity;
  if (fidelity > 0) message["fidelity"] = fidelity;
  if (request.deadline_s > 0) message["deadline_s"] = request.deadline_s;
  return line_of(message);
}

std::string cancel_line(const std::string& id) {
  return line_of({{"type", "cancel"}, {"id", id}});
}

}  // namespace paretod
