#include "daemon/rest/api.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "daemon/rest/event_feed.hpp"
#include "daemon/rest/front_view.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/openapi.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/results_api.hpp"
#include "daemon/rest/sha256.hpp"

namespace paretod {
namespace {

constexpr std::size_t usual_body_bytes = 64 * 1024;

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

}  // namespace

struct Api::Parts {
  Parts(JobManager& manager, ApiOptions options)
      : feed(manager.backend(), options.events),
        operations(all_operations(manager, std::move(options.system))),
        document(openapi_document(operations)),
        document_text(to_text(document)),
        router(routes_of(operations)) {
    if (!options.token.empty()) token = sha256(options.token);
  }

  std::vector<Operation> all_operations(JobManager& manager, SystemHooks hooks) {
    std::vector<Operation> all = job_operations(manager, feed, hypervolumes);
    append(all, result_operations(manager, fronts));
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
  FrontWriter fronts;
  std::vector<Operation> operations;
  nlohmann::json document;
  std::string document_text;
  Router router;
  std::optional<Sha256> token;
};

Api::Api(JobManager& manager, ApiOptions options)
    : parts_(std::make_unique<Parts>(manager, std::move(options))) {}

Api::~Api() = default;

std::optional<HttpResponse> Api::refuse_stranger(const HttpRequest& request) const {
  if (!parts_->token || request.path == "/healthz") return std::nullopt;
  const std::string given = bearer_token(request.header("authorization").value_or(""));
  if (same_digest(sha256(given), *parts_->token)) return std::nullopt;
  HttpResponse response =
      problem_response(problem_types::unauthorized, "Send Authorization: Bearer and the token.");
  response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"paretod\"");
  return response;
}

HttpResponse Api::handle(const HttpRequest& request) const {
  if (auto refusal = refuse_stranger(request)) return std::move(*refusal);
  return parts_->router.handle(request);
}

BodyDecision Api::before_body(const HttpRequest& head) const {
  const Route* route = parts_->router.find(head.method, head.path);
  return {route == nullptr ? usual_body_bytes : route->body_limit, refuse_stranger(head)};
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
