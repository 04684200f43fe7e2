#include "daemon/cli/surrogate_commands.hpp"

#include <array>
#include <utility>

#include "daemon/cli/interrupt.hpp"
#include "daemon/cli/surrogate_view.hpp"

namespace paretod::cli {
namespace {

Json verify_body(const Arguments& arguments) {
  Json body = Json::object();
  for (const auto& [option, field] : std::array<std::pair<std::string_view, const char*>, 3>{
           {{"--preference", "preference"},
            {"--method", "method"},
            {"--reference-point", "reference_point"}}}) {
    if (const auto value = arguments.text(option)) body[field] = *value;
  }
  for (const auto& [option, field] : std::array<std::pair<std::string_view, const char*>, 3>{
           {{"--count", "count"}, {"--fidelity", "fidelity"}, {"--replicate", "replicate"}}}) {
    if (const auto value = arguments.count(option)) body[field] = *value;
  }
  if (arguments.has("--knee")) body["knee"] = true;
  if (arguments.has("--where")) body["where"] = arguments.texts("--where");
  return body;
}

/// The trials of the verification, when all have been told; fewer after Ctrl-C.
Result<std::vector<Json>> wait_for(const Session& session, const std::string& job,
                                   const Json& verification) {
  Interrupt interrupt;
  std::vector<Json> told;
  for (const Json& trial : at(verification, "trials")) {
    const std::string path = job_path(job, "/trials/" + std::to_string(count_at(trial, "trial")));
    while (true) {
      auto reply = session.api.get_json(path);
      if (!reply) return reply.error();
      if (text_at(*reply, "status") != "asked") {
        told.push_back(std::move(*reply));
        break;
      }
      if (interrupt.wait(session.console.pace.poll_s)) return told;
    }
  }
  return told;
}

}  // namespace

int surrogate(const Session& session, const std::string& job) {
  const auto reply = session.api.get(job_path(job, "/surrogate"));
  if (!reply) return fail(session.console, reply.error());
  if (session.json()) {
    print_document(session.console.out, reply->body);
    return exit_ok;
  }
  const auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  print(session.console.out, surrogate_view(*document, session.page()));
  return exit_ok;
}

int verify(const Session& session, const std::string& job) {
  HttpClient::Headers headers;
  if (const auto key = session.arguments.text("--idempotency-key")) {
    headers.emplace_back("Idempotency-Key", *key);
  }
  const auto reply = session.api.post(job_path(job, ":verify"),
                                      verify_body(session.arguments).dump(), std::move(headers));
  if (!reply) return fail(session.console, reply.error());
  auto document = session.api.json_of(*reply);
  if (!document) return fail(session.console, document.error());
  std::vector<Json> measured;
  const bool waits = session.arguments.has("--wait");
  if (waits) {
    auto told = wait_for(session, job, *document);
    if (!told) return fail(session.console, told.error());
    measured = std::move(*told);
  }
  const bool complete = !waits || measured.size() == at(*document, "trials").size();
  if (session.json()) {
    if (!measured.empty()) (*document)["measured"] = measured;
    print_document(session.console.out, document->dump());
    return complete ? exit_ok : exit_detached;
  }
  print(session.console.out, verified_view(*document, measured, session.page()));
  if (!waits || !complete) {
    session.console.out << "They are being measured; paretod trials " << job << session.reach
                        << " shows them.\n";
  }
  return complete ? exit_ok : exit_detached;
}

int predicted_front(const Session& session, const std::string& job, const Json& reply,
                    std::size_t rows) {
  const Page page = session.page();
  Json measured;
  if (page.picture) {
    auto front = session.api.get_json(job_path(job, "/front"));
    if (!front) return fail(session.console, front.error());
    measured = std::move(*front);
  }
  print(session.console.out, predicted_front_view(reply, measured, rows, page));
  return exit_ok;
}

}  // namespace paretod::cli
