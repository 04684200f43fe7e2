#include "daemon/cli/commands.hpp"

#include <algorithm>
#include <array>
#include <fstream>
#include <ostream>
#include <sstream>

#include "adapters/json/parse.hpp"
#include "daemon/cli/export_log.hpp"
#include "daemon/cli/listing_view.hpp"
#include "daemon/cli/merge_models.hpp"
#include "daemon/cli/surrogate_commands.hpp"
#include "daemon/cli/watch.hpp"

namespace paretod::cli {
namespace {

constexpr std::size_t default_trials = 50;
constexpr std::size_t default_front_rows = 20;
/// What the daemon gives unless told, and at most.
constexpr std::uint64_t default_front_points = 1'000;
constexpr std::uint64_t max_front_points = 10'000;

using Command = int (*)(const Session&, const std::string& job);

Result<std::string> read_input(Console& console, const std::string& file) {
  std::ostringstream text;
  if (file == "-") {
    text << console.in.rdbuf();
  } else {
    std::ifstream in(file, std::ios::binary);
    if (!in) return invalid("cannot read " + file);
    text << in.rdbuf();
    if (in.bad() || text.fail()) return invalid("cannot read " + file);
  }
  if (text.str().empty()) return invalid(file + " is empty");
  return text.str();
}

/// The job file with what the command line overrides; unchanged text when it overrides nothing.
Result<std::string> job_request(const Session& session) {
  const Arguments& arguments = session.arguments;
  const std::string& file = arguments.operand;
  auto text = read_input(session.console, file);
  if (!text) return text;
  auto spec = parse_json(*text);
  if (!spec) {
    Error error = spec.error();
    error.message = (file == "-" ? "standard input" : file) + ": " + error.message;
    return error;
  }
  if (!spec->is_object()) return invalid(file + " is not a job: it has to be a JSON object");
  const auto name = arguments.text("--name");
  const auto seed = arguments.count("--seed");
  const auto trials = arguments.count("--trials");
  if (!name && !seed && !trials) return text;
  if (name) (*spec)["name"] = *name;
  if (seed) (*spec)["seed"] = *seed;
  if (trials) {
    nlohmann::json& budget = (*spec)["budget"];
    if (!budget.is_object()) budget = nlohmann::json::object();
    budget["trials"] = *trials;
  }
  return spec->dump();
}

int submit(const Session& session, const std::string&) {
  const auto request = job_request(session);
  if (!request) return fail_usage(session.console, request.error().text());
  HttpClient::Headers headers;
  if (const auto key = session.arguments.text("--idempotency-key")) {
    headers.emplace_back("Idempotency-Key", *key);
  }
  const auto reply = session.api.post("/v1/jobs", *request, std::move(headers));
  if (!reply) return fail(session.console, reply.error());
  const auto job = session.api.json_of(*reply);
  if (!job) return fail(session.console, job.error());
  const std::string id = text_at(*job, "id");
  const bool watch = session.arguments.has("--watch");
  if (session.json()) {
    if (!watch) print_document(session.console.out, reply->body);
  } else {
    session.console.out << (reply->status == 201 ? "submitted " : "already submitted: ") << id
                        << '\n';
    if (!watch) {
      session.console.out << "Watch it with: paretod watch " << id << session.reach << '\n';
    }
  }
  return watch ? watch_job(session, id) : exit_ok;
}

/// What is asked of the front, as the daemon reads it; it also says what is wrong with it.
std::string front_question(const Arguments& arguments) {
  std::string query = arguments.has("--predicted") ? "&source=predicted" : "";
  for (const auto& [option, field] : std::array<std::pair<std::string_view, std::string_view>, 5>{{
           {"--preference", "preference"},
           {"--method", "method"},
           {"--reference-point", "reference_point"},
           {"--where", "where"},
           {"--confidence", "confidence"},
       }}) {
    for (const std::string& value : arguments.texts(option)) {
      query += "&" + std::string(field) + "=" + url_escape(value);
    }
  }
  if (const auto trial = arguments.count("--at")) query += "&at=" + std::to_string(*trial);
  if (arguments.has("--knee")) query += "&knee=true";
  return query;
}

int front(const Session& session, const std::string& job) {
  std::string format = session.arguments.text("--format").value_or("table");
  if (session.arguments.has("--csv")) format = "csv";
  if (session.json()) format = "json";
  const std::string question = front_question(session.arguments);
  const auto limit = session.arguments.count("--limit");
  const std::uint64_t asked = limit == 0 ? max_front_points : limit.value_or(default_front_points);
  if (format != "table") {
    const auto reply = session.api.get(job_path(
        job, "/front?format=" + format +
                 "&limit=" + std::to_string(std::min(asked, max_front_points)) + question));
    if (!reply) return fail(session.console, reply.error());
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  // More than the rows of the table, for the picture.
  const std::uint64_t points = std::clamp(asked, default_front_points, max_front_points);
  const auto reply =
      session.api.get_json(job_path(job, "/front?limit=" + std::to_string(points) + question));
  if (!reply) return fail(session.console, reply.error());
  const std::size_t rows = limit.value_or(default_front_rows);
  if (session.arguments.has("--predicted")) return predicted_front(session, job, *reply, rows);
  print(session.console.out, front_view(*reply, rows, session.page()));
  return exit_ok;
}

int trial_log(const Session& session, const std::string& job, std::uint64_t trial) {
  const auto reply = session.api.get(job_path(job, "/trials/" + std::to_string(trial) + "/log"));
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  const Json& attempts = at(*document, "attempts");
  if (attempts.empty()) session.console.out << "trial " << trial << " wrote nothing that is kept\n";
  for (const Json& attempt : attempts) {
    session.console.out << "attempt " << count_at(attempt, "attempt") << ":\n";
    std::istringstream lines(attempt.value("log", std::string()));
    for (std::string line; std::getline(lines, line);) {
      session.console.out << "  " << printable(line) << '\n';
    }
  }
  return exit_ok;
}

int trials(const Session& session, const std::string& job) {
  if (const auto trial = session.arguments.count("--log")) return trial_log(session, job, *trial);
  const auto status = session.arguments.text("--status");
  const std::size_t limit = session.arguments.count("--limit").value_or(default_trials);
  const auto reply = session.api.list(job_path(job, "/trials"), "trials",
                                      status ? "status=" + *status : "", limit);
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->dump());
    return exit_ok;
  }
  print(session.console.out, trials_view(at(*reply, "trials"), session.page()));
  if (!text_at(*reply, "next_page_token").empty()) {
    session.console.out << "(the first " << limit << "; --limit 0 shows all)\n";
  }
  return exit_ok;
}

int jobs(const Session& session, const std::string&) {
  const auto status = session.arguments.text("--status");
  const auto reply = session.api.list("/v1/jobs", "jobs", status ? "status=" + *status : "", 0);
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->dump());
  } else {
    print(session.console.out, jobs_view(*reply, session.page()));
  }
  return exit_ok;
}

int job(const Session& session, const std::string& id) {
  const auto reply = session.api.get(job_path(id));
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  print(session.console.out, job_view(*document));
  return exit_ok;
}

/// pause, resume, cancel and extend: the verb of the command line is that of the resource.
int change(const Session& session, const std::string& id) {
  const std::string verb(session.arguments.verb->name);
  Json body = Json::object();
  const auto trials = session.arguments.count("--trials");
  const auto parallelism = session.arguments.count("--parallelism");
  const auto seconds = session.arguments.count("--evaluation-s");
  const auto tokens = session.arguments.count("--tokens");
  const auto money = session.arguments.text("--money");
  if (trials) body["budget"]["trials"] = *trials;
  if (seconds) body["budget"]["evaluation_s"] = *seconds;
  if (tokens) body["budget"]["tokens"] = *tokens;
  if (money) body["budget"]["money"] = *money;
  if (parallelism) body["parallelism"] = *parallelism;
  if (verb == "extend" && body.empty()) {
    return fail_usage(session.console,
                      "paretod extend needs --trials, --parallelism, --evaluation-s, --tokens or "
                      "--money");
  }
  const auto reply = session.api.post(job_path(id, ":" + verb), body.dump());
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  session.console.out << id << " is now " << text_at(*document, "status");
  if (verb == "extend") {
    const Json& progress = at(*document, "progress");
    session.console.out << ", with " << plural(count_at(progress, "budget_trials"), "trial")
                        << " in all, " << count_at(progress, "parallelism") << " at a time";
  }
  session.console.out << '\n';
  return exit_ok;
}

int evaluators(const Session& session, const std::string&) {
  const auto reply = session.api.get("/v1/evaluators");
  if (!reply) return fail(session.console, reply.error());
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  if (session.json()) {
    print_document(session.console.out, reply->body);
  } else {
    print(session.console.out, evaluators_view(at(*document, "evaluators"), session.page()));
  }
  return exit_ok;
}

int optimizers(const Session& session, const std::string&) {
  const auto reply = session.api.get("/v1/optimizers");
  if (!reply) return fail(session.console, reply.error());
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  const Json& all = at(*document, "optimizers");
  const std::string& name = session.arguments.operand;
  if (name.empty()) {
    if (session.json()) {
      print_document(session.console.out, reply->body);
    } else {
      print(session.console.out, optimizers_view(all, session.page()));
    }
    return exit_ok;
  }
  std::string known;
  for (const Json& optimizer : all) {
    if (text_at(optimizer, "name") == name) {
      if (session.json()) {
        print_document(session.console.out, optimizer.dump());
      } else {
        print(session.console.out, optimizer_view(optimizer, session.page()));
      }
      return exit_ok;
    }
    known += (known.empty() ? "" : ", ") + text_at(optimizer, "name");
  }
  return fail(session.console,
              {ErrorKind::not_found, "no optimizer is called \"" + name + "\"; known: " + known});
}

/// The model of a trial: the daemon says the recipe, its files are merged here.
int export_trial(const Session& session, const std::string& job, std::uint64_t trial) {
  const auto reply = session.api.get(job_path(job, "/trials/" + std::to_string(trial) + "/recipe"));
  if (!reply) return fail(session.console, reply.error());
  const auto folder = session.arguments.text("--output");
  if (!folder || *folder == "-") {
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  const auto recipe = parse_recipe(reply->body, "/");
  if (!recipe) return fail(session.console, recipe.error());
  return merge_models(*recipe, merge_options(session.arguments, *folder), session.console);
}

int export_log(const Session& session, const std::string& job) {
  if (const auto trial = session.arguments.count("--trial")) {
    return export_trial(session, job, *trial);
  }
  return export_job_log(session, job, session.arguments.text("--output"));
}

constexpr std::array<std::pair<std::string_view, Command>, 15> commands = {{
    {"submit", submit},
    {"watch", watch_job},
    {"front", front},
    {"surrogate", surrogate},
    {"verify", verify},
    {"trials", trials},
    {"jobs", jobs},
    {"job", job},
    {"pause", change},
    {"resume", change},
    {"cancel", change},
    {"extend", change},
    {"export", export_log},
    {"evaluators", evaluators},
    {"optimizers", optimizers},
}};

}  // namespace

int run_command(const Session& session) {
  std::string operand = session.arguments.operand;
  if (session.arguments.verb->operand == "JOB") {
    auto id = session.api.find_job(operand);
    if (!id) return fail(session.console, id.error());
    operand = std::move(*id);
  }
  for (const auto& [name, command] : commands) {
    if (name == session.arguments.verb->name) return command(session, operand);
  }
  return fail_usage(session.console, "this command does not talk to the daemon");
}

}  // namespace paretod::cli
