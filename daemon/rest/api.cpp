#include "daemon/rest/api.hpp"

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "adapters/hash/sha256.hpp"
#include "daemon/rest/event_feed.hpp"
#include "daemon/rest/front_view.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/leases_api.hpp"
#include "daemon/rest/openapi.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/results_api.hpp"
#include "daemon/rest/surrogate_api.hpp"

namespace paretod {
namespace {

constexpr std::size_t usual_body_bytes = 64 * 1024;
/// The key of all who hold the token; no address looks like it.
constexpr std::string_view holders = "token";

void append(std::vector<Operation>& all, std::vector<Operation> more) {
  for (Operation& operation : more) all.push_back(std::move(operation));
}

std::vector<Route> routes_of(const std::vector<Operation>& operations) {
  std::vector<Route> routes;
  for (const Operation& operation : operations) routes.push_back(make_route(operation));
  return routes;
}

/// The credentials of "Bearer <token>"; the scheme's case does not matter (RFC 9110 section 11.1).
std::string bearer_token(const std::string& field) {
  constexpr std::string_view scheme = "bearer ";
  if (field.size() <= scheme.size()) return "";
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char c = field[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c) != scheme[i]) return "";
  }
  return field.substr(scheme.size());
}

HttpResponse ask_for_token() {
  HttpResponse response =
      problem_response(problem_types::unauthorized, "Send Authorization: Bearer and the token.");
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"paretod\"");
  return response;
}

/// Asked for by monitors and workers rather than by users.
bool is_unhurried(const std::string& path) {
  return path == "/healthz" || path == "/readyz" || path == "/metrics" ||
         path.starts_with("/v1/leases");
}

/// What the token for workers is good for.
bool is_for_workers(const HttpRequest& request) {
  const std::string& path = request.path;
  if (path.starts_with("/v1/leases")) return true;
  return request.method == "GET" &&
         (path == "/readyz" || path.starts_with("/v1/evaluators") || path.starts_with("/v1/jobs/"));
}

}  // namespace

struct Api::Parts {
  Parts(JobManager& manager, ApiOptions options)
      : feed(manager.backend(), options.events),
        surrogates(manager.catalog()),
        operations(all_operations(manager, options.logs, std::move(options.system))),
        document(openapi_document(operations)),
        document_text(to_text(document)),
        router(routes_of(operations)),
        rate(options.rate),
        now(std::move(options.now)) {
    if (!options.token.empty()) token = sha256(options.token);
    if (!options.worker_token.empty()) worker_token = sha256(options.worker_token);
  }

  std::vector<Operation> all_operations(JobManager& manager, const AttemptLogs* logs,
                                        SystemHooks hooks) {
    std::vector<Operation> all = job_operations(manager, feed, hypervolumes);
    append(all, lease_operations(manager));
    append(all, result_operations(manager, fronts, surrogates, told, logs));
    append(all, surrogate_operations(manager, surrogates));
    append(all, system_operations(manager, feed, std::move(hooks)));
    all.push_back({.method = "GET",
                   .pattern = "/openapi.json",
                   .name = "getOpenApi",
                   .summary = "Shows this document.",
                   .answers = {{200, "An OpenAPI 3.1 document.", "", "application/json"}},
                   .handler = [this](const Call&) { return json_response(200, document_text); }});
    return all;
  }

  EventFeed feed;
  HypervolumeCache hypervolumes;
  ToldCache told;
  FrontWriter fronts{told};
  SurrogateDesk surrogates;
  std::vector<Operation> operations;
  nlohmann::json document;
  std::string document_text;
  Router router;
  std::optional<Sha256> token;
  std::optional<Sha256> worker_token;
  RateLimiter rate;
  std::function<RateLimiter::Clock::time_point()> now;
};

Api::Api(JobManager& manager, ApiOptions options)
    : parts_(std::make_unique<Parts>(manager, std::move(options))) {}

Api::~Api() = default;

Api::Caller Api::caller_of(const HttpRequest& request) const {
  if (!parts_->token || request.path == "/healthz") return Caller::owner;
  const Sha256 given = sha256(bearer_token(request.header("authorization").value_or("")));
  if (same_digest(given, *parts_->token)) return Caller::owner;
  const bool worker = parts_->worker_token && same_digest(given, *parts_->worker_token);
  return worker ? Caller::worker : Caller::stranger;
}

std::optional<HttpResponse> Api::refuse(const HttpRequest& request) const {
  const Caller caller = caller_of(request);
  if (caller == Caller::stranger) return ask_for_token();
  if (caller == Caller::owner || is_for_workers(request)) return std::nullopt;
  return problem_response(problem_types::denied,
                          "The token for workers leases attempts and brings results; this needs "
                          "the owner's token.");
}

std::optional<HttpResponse> Api::refuse_haste(const HttpRequest& head) const {
  if (!parts_->token) return std::nullopt;
  // Whoever watches over the daemon must see it when it is busiest; a wrong token is counted
  // wherever it is tried.
  const bool stranger = caller_of(head) == Caller::stranger;
  if (!stranger && is_unhurried(head.path)) return std::nullopt;
  // By address and not by the token that was sent, or every guess would be a new client.
  const auto wait = parts_->rate.refuse(stranger ? head.peer : std::string(holders), parts_->now());
  if (!wait) return std::nullopt;
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(*wait).count();
  HttpResponse response = problem_response(
      problem_types::too_many_requests,
      "Requests come faster than this daemon allows; wait for the time in Retry-After.");
  response.headers = {{"Retry-After", std::to_string(seconds)}};
  return response;
}

HttpResponse Api::handle(const HttpRequest& request) const {
  if (auto refused = refuse(request)) return std::move(*refused);
  return parts_->router.handle(request);
}

BodyDecision Api::before_body(const HttpRequest& head) const {
  const Route* route = parts_->router.find(head.method, head.path);
  BodyDecision decision{route == nullptr ? usual_body_bytes : route->body_limit,
                        refuse_haste(head)};
  if (!decision.refusal) decision.refusal = refuse(head);
  return decision;
}

HttpHooks Api::hooks() const {
  HttpHooks hooks;
  hooks.handler = [this](const HttpRequest& request) { return handle(request); };
  hooks.before_body = [this](const HttpRequest& head) { return before_body(head); };
  return hooks;
}

const std::vector<Operation>& Api::operations() const {
  return parts_->operations;
}
const Router& Api::router() const {
  return parts_->router;
}
const nlohmann::json& Api::openapi() const {
  return parts_->document;
}

}  // namespace paretod
