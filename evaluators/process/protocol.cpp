#include "evaluators/process/protocol.hpp"

#include <algorithm>
#include <limits>
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
constexpr std::size_t longest_version = 256;

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

void read_version(ObjectReader& reader, EvaluatorDescription& description) {
  description.version = reader.string("version").value_or("");
  if (description.version != printable_text(description.version, longest_version)) {
    reader.refuse("version", "has to be printable text of at most " +
                                 std::to_string(longest_version) + " bytes");
  }
}

/// ISO 4217 writes currencies like this.
bool is_currency(const std::string& text) {
  return text.size() == 3 &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

void read_price(ObjectReader& reader, EvaluatorDescription& description, Problems& problems) {
  description.paid = reader.boolean("paid").value_or(false);
  description.resumable = reader.boolean("resumable").value_or(false);
  description.currency = reader.string("currency").value_or("");
  if (!description.currency.empty() && !is_currency(description.currency)) {
    reader.refuse("currency", "has to be three capital letters, such as \"USD\"");
  }
  if (!description.currency.empty() && !description.paid) {
    reader.refuse("currency", "says what is paid in, so \"paid\" has to be true");
  }
  const json* object = reader.find("worst_case");
  if (object == nullptr) return;
  ObjectReader worst(*object, "/worst_case", problems);
  Spend& spend = description.worst_case;
  spend.seconds = worst.number("seconds").value_or(0);
  if (spend.seconds < 0) worst.refuse("seconds", "has to be a number that is not negative");
  spend.tokens = worst.count("tokens").value_or(0);
  spend.money_micros = worst.integer("money_micros").value_or(0);
  if (spend.money_micros < 0) {
    worst.refuse("money_micros", "has to be a whole number that is not negative");
  }
  if (spend.money_micros > 0 && description.currency.empty()) {
    worst.refuse("money_micros", "needs the \"currency\" that it is in");
  }
  worst.refuse_others();
}

/// What a message may say about the attempt in all its kinds.  The first defect is kept.
class MessageReader {
 public:
  MessageReader(const json& document, std::string& defect) : document_(document), defect_(defect) {}

  /// The field's value; null where it is absent or null.
  [[nodiscard]] const json* find(const char* name) const {
    const auto found = document_.find(name);
    return found == document_.end() || found->is_null() ? nullptr : &*found;
  }

  void blame(const std::string& defect) {
    if (defect_.empty()) defect_ = defect;
  }

  /// The value, or T{} and the defect.
  template <class T>
  T take(Result<T> read) {
    if (read) return std::move(*read);
    blame(read.error().message);
    return {};
  }

  /// Values that are not valid are left out.
  Measurements measurements(const char* name) {
    Measurements out;
    const auto object = document_.find(name);
    if (object == document_.end()) return out;
    if (!object->is_object()) {
      blame("\"" + std::string(name) + "\" has to be an object of values by name");
      return out;
    }
    for (const auto& item : object->items()) {
      auto measurement = measurement_from_json(item.key(), item.value());
      if (measurement) {
        out.emplace(item.key(), *measurement);
      } else {
        blame(measurement.error().message);
      }
    }
    return out;
  }

  ExampleValues examples() {
    const json* object = find("examples");
    return object == nullptr ? ExampleValues{} : take(examples_from_json(*object));
  }

  ReportedCost cost() {
    const json* object = find("cost");
    return object == nullptr ? ReportedCost{} : take(cost_from_json(*object));
  }

 private:
  const json& document_;
  std::string& defect_;
};

void read_constraints(MessageReader& reader, ResultMessage& message) {
  const json* list = reader.find("constraints");
  if (list == nullptr) return;
  const auto number = [](const json& item) { return item.is_number(); };
  if (!list->is_array() || !std::all_of(list->begin(), list->end(), number)) {
    return reader.blame("\"constraints\" has to be an array of numbers");
  }
  message.constraints = list->get<std::vector<double>>();
}

void read_metrics(MessageReader& reader, ResultMessage& message) {
  const json* metrics = reader.find("metrics");
  if (metrics == nullptr) return;
  if (!metrics->is_object()) {
    return reader.blame("\"metrics\" has to be an object of numbers by name");
  }
  for (const auto& item : metrics->items()) {
    if (!item.value().is_number()) {
      return reader.blame(not_finite("metric", item.key(), item.value()).message);
    }
    message.metrics.emplace_back(item.key(), item.value().get<double>());
  }
}

ResultMessage read_result(const json& document, std::string id) {
  ResultMessage message;
  message.id = std::move(id);
  MessageReader reader(document, message.defect);
  message.objectives = reader.measurements("objectives");
  read_constraints(reader, message);
  read_metrics(reader, message);
  message.examples = reader.examples();
  message.cost = reader.cost();
  return message;
}

ProgressMessage read_progress(const json& document, std::string id) {
  ProgressMessage message;
  message.id = std::move(id);
  MessageReader reader(document, message.defect);
  if (const json* done = reader.find("done")) {
    if (done->is_number()) {
      message.done = std::clamp(done->get<double>(), 0.0, 1.0);
    } else {
      reader.blame("\"done\" has to be a number from 0 to 1");
    }
  }
  message.partial = reader.measurements("partial");
  message.examples = reader.examples();
  return message;
}

Result<ErrorMessage> read_error(const json& document, std::string id) {
  ErrorMessage message;
  message.id = std::move(id);
  const auto kind = document.find("kind");
  const std::string kind_text =
      kind != document.end() && kind->is_string() ? kind->get<std::string>() : "";
  if (kind_text == "infeasible") {
    message.kind = ReplyKind::done;
    message.status = TrialStatus::infeasible;
  } else if (kind_text == "unknown") {
    message.kind = ReplyKind::done;
    message.status = TrialStatus::unknown;
  } else if (kind_text == "failed") {
    message.kind = ReplyKind::done;
  } else if (kind_text == "transient") {
    message.kind = ReplyKind::transient;
  } else if (kind_text == "fatal") {
    message.kind = ReplyKind::fault;
  } else {
    return invalid(
        "the kind of an error has to be infeasible, transient, fatal, failed or unknown");
  }
  const auto text = document.find("message");
  message.text = text != document.end() && text->is_string()
                     ? printable_text(text->get<std::string>(), longest_text)
                     : "the evaluator gave no message";
  std::string defect;
  message.cost = MessageReader(document, defect).cost();
  if (!defect.empty()) message.text += "; and its cost is not known: " + defect;
  return message;
}

/// In the order of the job's objectives, `absent` where there is none; empty if there is none for
/// any of them.
template <class T>
std::vector<T> in_order(const std::map<std::string, T>& values,
                        const std::vector<Objective>& objectives, const T& absent) {
  std::vector<T> out;
  bool any = false;
  for (const Objective& objective : objectives) {
    const auto found = values.find(objective.name);
    any = any || found != values.end();
    out.push_back(found == values.end() ? absent : found->second);
  }
  if (!any) out.clear();
  return out;
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
  read_version(reader, description);
  read_price(reader, description, problems);
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
  if (type_text == "progress") {
    return EvaluatorMessage(read_progress(*document, std::move(id_text)));
  }
  if (type_text == "result") return EvaluatorMessage(read_result(*document, std::move(id_text)));
  if (type_text != "error") {
    return invalid("the type of a message has to be result, error or progress");
  }
  auto message = read_error(*document, std::move(id_text));
  if (!message) return message.error();
  return EvaluatorMessage(std::move(*message));
}

EvaluationReply reply_of(const ProgressMessage& message, const std::vector<Objective>& objectives) {
  EvaluationReply reply;
  reply.kind = ReplyKind::progress;
  reply.done = message.done;
  constexpr Measurement unknown{.value = std::numeric_limits<double>::quiet_NaN()};
  reply.outcome.objectives = in_order(message.partial, objectives, unknown);
  reply.outcome.examples = in_order(message.examples, objectives, {});
  reply.outcome.reason = message.defect;
  return reply;
}

EvaluationReply reply_of(const ResultMessage& message, const std::vector<Objective>& objectives,
                         double measured_s) {
  EvaluationReply reply;
  std::string defect = message.defect;
  for (const Objective& objective : objectives) {
    if (defect.empty() && !message.objectives.contains(objective.name)) {
      defect = "it lacks the objective \"" + objective.name + "\"";
    }
  }
  if (defect.empty()) {
    reply.outcome.objectives = in_order(message.objectives, objectives, {});
    reply.outcome.constraints = message.constraints;
    reply.outcome.metrics = message.metrics;
    reply.outcome.examples = in_order(message.examples, objectives, {});
  } else {
    reply.outcome = Outcome::failure(TrialStatus::failed, "the evaluator's result is not valid: " +
                                                              printable_text(defect, longest_text));
  }
  reply.outcome.cost = message.cost.spend(measured_s);
  return reply;
}

EvaluationReply reply_of(const ErrorMessage& message, double measured_s) {
  EvaluationReply reply;
  reply.kind = message.kind;
  reply.outcome = Outcome::failure(message.status, message.text);
  reply.outcome.cost = message.cost.spend(measured_s);
  // Unless it says so, nobody knows what that cost.
  reply.cost_known = reply.outcome.status != TrialStatus::unknown;
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
  if (!request.weights.empty()) message["weights"] = request.weights;
  return line_of(message);
}

std::string cancel_line(const std::string& id) {
  return line_of({{"type", "cancel"}, {"id", id}});
}

}  // namespace paretod
