#include "daemon/jobs/event.hpp"

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

namespace paretod {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "points are logged little-endian");

// ---- writing: by hand for asked and told, which are nearly all of a log ------------------------

template <class T>
void put_number(std::string& out, T value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  out.append(text, end);
  if constexpr (std::is_floating_point_v<T>) {
    // "-0" would read back as the integer zero.
    if (value == 0 && std::signbit(value)) out += ".0";
  }
}

void put_string(std::string& out, const std::string& text) {
  out += json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

constexpr char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Numbers are the base64 of their little-endian bytes: exact, and half the size of decimals.
template <class T>
void put_packed(std::string& out, const std::vector<T>& numbers) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
  const std::size_t size = numbers.size() * sizeof(T);
  out.reserve(out.size() + (size + 2) / 3 * 4 + 48);
  for (std::size_t i = 0; i < size; i += 3) {
    const std::size_t have = std::min<std::size_t>(3, size - i);
    std::uint32_t group = static_cast<std::uint32_t>(bytes[i]) << 16;
    if (have > 1) group |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
    if (have > 2) group |= bytes[i + 2];
    out += base64_alphabet[group >> 18];
    out += base64_alphabet[group >> 12 & 63];
    out += have > 1 ? base64_alphabet[group >> 6 & 63] : '=';
    out += have > 2 ? base64_alphabet[group & 63] : '=';
  }
}

void put_measurement(std::string& out, const Measurement& m) {
  if (!m.has_error() && m.count == 0) {
    put_number(out, m.value);
    return;
  }
  out += '[';
  put_number(out, m.value);
  out += ',';
  if (m.has_error()) {
    put_number(out, m.standard_error);
  } else {
    out += "null";
  }
  out += ',';
  put_number(out, m.count);
  out += ']';
}

void put_candidate(std::string& out, const Candidate& c) {
  out += "\"p\":\"";
  put_packed(out, c.point);
  out += '"';
  if (c.fidelity != 0) {
    out += ",\"f\":";
    put_number(out, c.fidelity);
  }
  if (c.replicate != 0) {
    out += ",\"r\":";
    put_number(out, c.replicate);
  }
  if (!c.tag.empty()) {
    out += ",\"tag\":";
    put_string(out, c.tag);
  }
}

void put_body(std::string& out, const AskedEvent& asked) {
  out += ",\"n\":";
  put_number(out, asked.number);
  out += ',';
  put_candidate(out, asked.candidate);
}

void put_body(std::string& out, const InjectedEvent& injected) {
  out += ",\"n\":";
  put_number(out, injected.first);
  out += ",\"trials\":[";
  for (std::size_t i = 0; i < injected.candidates.size(); ++i) {
    out += i > 0 ? ",{" : "{";
    put_candidate(out, injected.candidates[i]);
    out += '}';
  }
  out += ']';
  if (injected.key.empty()) return;
  out += ",\"key\":";
  put_string(out, injected.key);
  out += ",\"digest\":";
  put_string(out, injected.request_digest);
}

void put_body(std::string& out, const ToldEvent& told) {
  const Outcome& o = told.outcome;
  out += ",\"n\":";
  put_number(out, told.number);
  if (o.status != TrialStatus::ok) {
    out += ",\"st\":\"";
    out += name_of(o.status);
    out += "\",\"why\":";
    put_string(out, o.reason);
  }
  if (!o.objectives.empty()) {
    out += ",\"o\":[";
    for (std::size_t i = 0; i < o.objectives.size(); ++i) {
      if (i > 0) out += ',';
      put_measurement(out, o.objectives[i]);
    }
    out += ']';
  }
  if (!o.constraints.empty()) {
    out += ",\"g\":[";
    for (std::size_t i = 0; i < o.constraints.size(); ++i) {
      if (i > 0) out += ',';
      put_number(out, o.constraints[i]);
    }
    out += ']';
  }
  if (!o.metrics.empty()) {
    out += ",\"m\":{";
    for (std::size_t i = 0; i < o.metrics.size(); ++i) {
      if (i > 0) out += ',';
      put_string(out, o.metrics[i].first);
      out += ':';
      put_number(out, o.metrics[i].second);
    }
    out += '}';
  }
  if (o.cost.seconds > 0) {
    out += ",\"s\":";
    put_number(out, static_cast<float>(o.cost.seconds));
  }
  if (o.attempts != 1) {
    out += ",\"a\":";
    put_number(out, o.attempts);
  }
  if (o.cost.tokens > 0) {
    out += ",\"k\":";
    put_number(out, o.cost.tokens);
  }
  if (o.cost.money_micros > 0) {
    out += ",\"c\":";
    put_number(out, o.cost.money_micros);
  }
  if (o.same_as > 0) {
    out += ",\"same\":";
    put_number(out, o.same_as);
  }
  if (!o.examples.empty()) {
    out += ",\"x\":[";
    for (std::size_t i = 0; i < o.examples.size(); ++i) {
      out += i > 0 ? ",\"" : "\"";
      put_packed(out, o.examples[i]);
      out += '"';
    }
    out += ']';
  }
}

json to_json(const Estimate& e) {
  return {e.mean, e.count > 1 ? json(e.standard_error) : json(nullptr), e.count};
}

json to_json(const std::vector<Estimate>& estimates) {
  json list = json::array();
  for (const Estimate& e : estimates) list.push_back(to_json(e));
  return list;
}

json report_json(const Report& report) {
  json rows = json::array();
  for (const ReportRow& row : report.rows) {
    std::string point;
    put_packed(point, row.point);
    rows.push_back({{"name", row.name},
                    {"n", row.trial},
                    {"p", point},
                    {"est", to_json(row.estimates)},
                    {"diff", to_json(row.difference)}});
  }
  return {{"stop", report.stop_reason}, {"quantities", report.quantities}, {"rows", rows}};
}

json fields(const OwnerEvent& owner) {
  return {{"nonce", owner.nonce}, {"build", owner.build}};
}
json fields(const CreatedEvent& created) {
  json j = {{"spec", to_json(created.spec)}};
  if (!created.request_digest.empty()) j["digest"] = created.request_digest;
  for (std::size_t i = 0; i < created.imported.size(); ++i) {
    // As the asked and the told event that it was, without their heads.
    std::string text = "{\"e\":\"\"";
    put_body(text, AskedEvent{i + 1, created.imported[i].candidate});
    put_body(text, ToldEvent{i + 1, created.imported[i].outcome});
    j["import"].push_back(json::parse(text + "}"));
  }
  return j;
}
json fields(const PausedEvent& paused) {
  json j = {{"why", paused.reason}};
  if (paused.cause != PauseCause::request) j["cause"] = name_of(paused.cause);
  return j;
}
json fields(const ResumedEvent&) {
  return json::object();
}
json fields(const ExtendedEvent& extended) {
  json j = {{"why", extended.reason}};
  if (extended.trials) j["trials"] = *extended.trials;
  if (extended.wall_s) j["wall_s"] = *extended.wall_s;
  if (extended.parallelism) j["parallelism"] = *extended.parallelism;
  if (extended.evaluation_s) j["evaluation_s"] = *extended.evaluation_s;
  if (extended.tokens) j["tokens"] = *extended.tokens;
  if (extended.money_micros) j["money_micros"] = *extended.money_micros;
  return j;
}
void put_spend(json& j, const Spend& spend) {
  if (spend.seconds > 0) j["s"] = spend.seconds;
  if (spend.tokens > 0) j["k"] = spend.tokens;
  if (spend.money_micros > 0) j["c"] = spend.money_micros;
}
json fields(const StartedEvent& started) {
  json j = {{"n", started.number}, {"a", started.attempt}};
  if (!started.worker.empty()) j["w"] = started.worker;
  put_spend(j, started.hold);
  return j;
}
json fields(const EndedEvent& ended) {
  json j = {{"n", ended.number},
            {"a", ended.attempt},
            {"end", name_of(ended.end)},
            {"why", ended.reason}};
  if (!ended.worker.empty()) j["w"] = ended.worker;
  put_spend(j, ended.cost);
  return j;
}
json fields(const EvaluatorEvent& evaluator) {
  return {{"version", evaluator.version}};
}
json fields(const BudgetEvent& budget) {
  return {{"of", name_of(budget.resource)}, {"percent", budget.percent}};
}
json fields(const FinishedEvent& finished) {
  return {{"status", name_of(finished.status)},
          {"why", finished.reason},
          {"report", report_json(finished.report)}};
}

template <class Body>
void put_body(std::string& out, const Body& body) {
  const std::string text = fields(body).dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() <= 2) return;
  out += ',';
  out.append(text, 1, text.size() - 2);  // without the braces
}

// ---- reading -----------------------------------------------------------------------------------

template <class T>
std::vector<T> packed_from(const std::string& text) {
  static constexpr auto values = [] {
    std::array<signed char, 256> table{};
    table.fill(-1);
    for (int i = 0; i < 64; ++i) {
      table[static_cast<unsigned char>(base64_alphabet[i])] = static_cast<signed char>(i);
    }
    return table;
  }();
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    if (c == '=') break;
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) throw std::invalid_argument("packed numbers are not base64");
    group = group << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>(group >> bits & 255);
    }
  }
  if (bytes.size() % sizeof(T) != 0) throw std::invalid_argument("packed numbers are cut short");
  std::vector<T> numbers(bytes.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

Measurement measurement_from(const json& j) {
  if (j.is_number()) return {j.get<double>()};
  return {j.at(0).get<double>(), j.at(1).is_null() ? -1 : j.at(1).get<double>(),
          j.at(2).get<std::uint64_t>()};
}

std::vector<Estimate> estimates_from(const json& list) {
  std::vector<Estimate> estimates;
  for (const json& j : list) {
    estimates.push_back({j.at(0).get<double>(), j.at(1).is_null() ? -1 : j.at(1).get<double>(),
                         j.at(2).get<std::uint64_t>()});
  }
  return estimates;
}

Candidate candidate_from(const json& j) {
  return {packed_from<double>(j.at("p").get_ref<const std::string&>()),
          j.value("f", std::uint64_t{0}), j.value("r", std::uint64_t{0}),
          j.value("tag", std::string())};
}

AskedEvent asked_from(const json& j) {
  return {j.at("n").get<TrialNumber>(), candidate_from(j)};
}

InjectedEvent injected_from(const json& j) {
  InjectedEvent injected{j.at("n").get<TrialNumber>(),
                         {},
                         j.value("key", std::string()),
                         j.value("digest", std::string())};
  for (const json& trial : j.at("trials")) injected.candidates.push_back(candidate_from(trial));
  return injected;
}

TrialStatus trial_status_from(const std::string& name) {
  for (const auto status : {TrialStatus::ok, TrialStatus::infeasible, TrialStatus::failed}) {
    if (name_of(status) == name) return status;
  }
  return TrialStatus::unknown;
}

ToldEvent told_from(const json& j) {
  ToldEvent told;
  told.number = j.at("n").get<TrialNumber>();
  Outcome& outcome = told.outcome;
  outcome.status = trial_status_from(j.value("st", std::string("ok")));
  outcome.reason = j.value("why", std::string());
  outcome.cost.seconds = static_cast<double>(j.value("s", 0.0F));
  outcome.attempts = j.value("a", std::uint32_t{1});
  outcome.same_as = j.value("same", TrialNumber{0});
  outcome.cost.tokens = j.value("k", std::uint64_t{0});
  outcome.cost.money_micros = j.value("c", std::int64_t{0});
  if (const auto x = j.find("x"); x != j.end()) {
    for (const json& list : *x)
      outcome.examples.push_back(packed_from<float>(list.get_ref<const std::string&>()));
  }
  if (const auto o = j.find("o"); o != j.end()) {
    for (const json& m : *o) outcome.objectives.push_back(measurement_from(m));
  }
  if (const auto g = j.find("g"); g != j.end()) {
    outcome.constraints = g->get<std::vector<double>>();
  }
  if (const auto m = j.find("m"); m != j.end()) {
    for (const auto& [name, value] : m->items()) {
      outcome.metrics.emplace_back(name, value.get<double>());
    }
  }
  return told;
}

Report report_from(const json& j) {
  Report report;
  report.stop_reason = j.at("stop").get<std::string>();
  report.quantities = j.at("quantities").get<std::vector<std::string>>();
  for (const json& row : j.at("rows")) {
    report.rows.push_back({row.at("name").get<std::string>(),
                           packed_from<double>(row.at("p").get_ref<const std::string&>()),
                           row.at("n").get<TrialNumber>(), estimates_from(row.at("est")),
                           estimates_from(row.at("diff"))});
  }
  return report;
}

ExtendedEvent extended_from(const json& j) {
  ExtendedEvent extended;
  extended.reason = j.value("why", std::string());
  if (j.contains("trials")) extended.trials = j["trials"].get<std::uint64_t>();
  if (j.contains("wall_s")) extended.wall_s = j["wall_s"].get<double>();
  if (j.contains("parallelism")) extended.parallelism = j["parallelism"].get<std::size_t>();
  if (j.contains("evaluation_s")) extended.evaluation_s = j["evaluation_s"].get<double>();
  if (j.contains("tokens")) extended.tokens = j["tokens"].get<std::uint64_t>();
  if (j.contains("money_micros")) extended.money_micros = j["money_micros"].get<std::int64_t>();
  return extended;
}

template <class Enum>
Enum named(const std::string& name, std::initializer_list<Enum> values) {
  for (const Enum value : values) {
    if (name_of(value) == name) return value;
  }
  throw std::invalid_argument("unknown word \"" + name + "\"");
}

PausedEvent paused_from(const json& j) {
  return {j.value("why", std::string()),
          named(j.value("cause", std::string("request")),
                {PauseCause::request, PauseCause::failures, PauseCause::budget})};
}

Spend spend_from(const json& j) {
  return {j.value("s", 0.0), j.value("k", std::uint64_t{0}), j.value("c", std::int64_t{0})};
}

StartedEvent started_from(const json& j) {
  return {j.at("n").get<TrialNumber>(), j.at("a").get<std::uint32_t>(), j.value("w", std::string()),
          spend_from(j)};
}

EndedEvent ended_from(const json& j) {
  return {j.at("n").get<TrialNumber>(),
          j.at("a").get<std::uint32_t>(),
          named(j.at("end").get<std::string>(),
                {AttemptEnd::transient, AttemptEnd::fault, AttemptEnd::lost, AttemptEnd::released,
                 AttemptEnd::surplus}),
          j.value("w", std::string()),
          j.value("why", std::string()),
          spend_from(j)};
}

BudgetEvent budget_from(const json& j) {
  return {
      named(j.at("of").get<std::string>(), {Resource::seconds, Resource::tokens, Resource::money}),
      j.at("percent").get<int>()};
}

FinishedEvent finished_from(const json& j) {
  FinishedEvent finished;
  const auto name = j.at("status").get<std::string>();
  finished.status = JobStatus::failed;
  for (const auto status : {JobStatus::succeeded, JobStatus::cancelled, JobStatus::diverged}) {
    if (name_of(status) == name) finished.status = status;
  }
  finished.reason = j.value("why", std::string());
  finished.report = report_from(j.at("report"));
  return finished;
}

Result<EventBody> body_from(const json& j) {
  const auto& kind = j.at("e").get_ref<const std::string&>();
  if (kind == "asked") return EventBody(asked_from(j));
  if (kind == "told") return EventBody(told_from(j));
  if (kind == "owner") {
    return EventBody(
        OwnerEvent{j.at("nonce").get<std::string>(), j.at("build").get<std::string>()});
  }
  if (kind == "created") {
    auto spec = stored_job_spec(j.at("spec"));
    if (!spec) return spec.error();
    CreatedEvent created{std::move(*spec), j.value("digest", std::string()), {}};
    if (const auto imported = j.find("import"); imported != j.end()) {
      for (const json& trial : *imported) {
        created.imported.push_back({candidate_from(trial), told_from(trial).outcome});
      }
    }
    return EventBody(std::move(created));
  }
  if (kind == "started") return EventBody(started_from(j));
  if (kind == "ended") return EventBody(ended_from(j));
  if (kind == "budget") return EventBody(budget_from(j));
  if (kind == "evaluator") return EventBody(EvaluatorEvent{j.at("version").get<std::string>()});
  if (kind == "paused") return EventBody(paused_from(j));
  if (kind == "resumed") return EventBody(ResumedEvent{});
  if (kind == "extended") return EventBody(extended_from(j));
  if (kind == "finished") return EventBody(finished_from(j));
  if (kind == "injected") return EventBody(injected_from(j));
  return Error{ErrorKind::corrupt,
               "an event of unknown kind \"" + kind + "\": written by a newer paretod?"};
}

}  // namespace

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string_view name_of(JobStatus status) {
  constexpr std::string_view names[] = {"queued", "running",   "paused",  "succeeded",
                                        "failed", "cancelled", "diverged"};
  return names[static_cast<std::size_t>(status)];
}

std::string_view name_of(PauseCause cause) {
  constexpr std::string_view names[] = {"request", "failures", "budget"};
  return names[static_cast<std::size_t>(cause)];
}

std::string_view name_of(AttemptEnd end) {
  constexpr std::string_view names[] = {"transient", "fault", "lost", "released", "surplus"};
  return names[static_cast<std::size_t>(end)];
}

std::string_view name_of(const EventBody& body) {
  constexpr std::string_view names[] = {"owner",   "created",   "asked",    "told",    "paused",
                                        "resumed", "extended",  "finished", "started", "ended",
                                        "budget",  "evaluator", "injected"};
  return names[body.index()];
}

std::string encode(const Event& event) {
  std::string out;
  out.reserve(128);
  out += "{\"e\":\"";
  out += name_of(event.body);
  out += "\",\"t\":";
  put_number(out, event.time_ms);
  std::visit([&out](const auto& body) { put_body(out, body); }, event.body);
  out += '}';
  return out;
}

Result<Event> decode(std::string_view text) {
  const json j = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object()) return Error{ErrorKind::corrupt, "an event is not a JSON object"};
  try {
    auto body = body_from(j);
    if (!body) return body.error();
    return Event{j.at("t").get<std::int64_t>(), std::move(*body)};
  } catch (const std::exception& error) {
    return Error{ErrorKind::corrupt, std::string("an event cannot be read: ") + error.what()};
  }
}

}  // namespace paretod
