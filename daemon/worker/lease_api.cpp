#include "daemon/worker/lease_api.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr double usual_ttl_s = 30;

std::string text_of(const json& document) {
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

Error strange(const std::string& url, const std::string& what) {
  return {ErrorKind::internal, url + " answers " + what + "; is it a paretod?"};
}

Result<json> post(cli::DaemonApi& api, const std::string& path, const json& body) {
  const auto reply = api.post(path, text_of(body));
  if (!reply) return reply.error();
  if (reply->body.empty()) return json::object();
  auto document = parse_json(reply->body);
  if (!document || !document->is_object()) return strange(api.url(), "without a JSON object");
  return document;
}

/// The member, or a null value.
const json& member(const json& object, const char* name) {
  static const json none;
  const auto found = object.is_object() ? object.find(name) : object.end();
  return found == object.end() ? none : *found;
}

std::string text_in(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::vector<std::string> texts_in(const json& object, const char* name) {
  std::vector<std::string> texts;
  for (const json& item : member(object, name)) {
    if (item.is_string()) texts.push_back(item.get<std::string>());
  }
  return texts;
}

double ttl_in(const json& object) {
  const json& value = member(object, "ttl_s");
  return value.is_number() && value.get<double>() > 0 ? value.get<double>() : usual_ttl_s;
}

json message_json(const std::string& lease, const std::string& message) {
  return {{"lease", lease}, {"message", json::parse(message, nullptr, false)}};
}

}  // namespace

LeaseApi::LeaseApi(cli::DaemonApi api, std::string worker)
    : api_(std::move(api)), worker_(std::move(worker)) {}

Result<LeaseGrant> LeaseApi::lease(const LeaseRequest& request) {
  json body{{"worker", worker_},        {"evaluator", request.evaluator}, {"count", request.count},
            {"wait_s", request.wait_s}, {"request", request.key},         {"ttl_s", request.ttl_s}};
  if (!request.job.empty()) body["job"] = request.job;
  const auto document = post(api_, "/v1/leases", body);
  if (!document) return document.error();
  const json& leases = member(*document, "leases");
  if (!leases.is_array()) return strange(api_.url(), "without leases");
  LeaseGrant grant;
  grant.ttl_s = ttl_in(*document);
  for (const json& item : leases) {
    const json& message = member(item, "request");
    GrantedLease lease{text_in(item, "lease"), text_in(item, "job"), text_in(message, "id"),
                       text_of(message)};
    if (lease.token.empty()) return strange(api_.url(), "with a lease that has no token");
    grant.leases.push_back(std::move(lease));
  }
  return grant;
}

Result<HeartbeatAnswer> LeaseApi::heartbeat(const std::vector<std::string>& leases,
                                            const std::vector<LeaseProgress>& progress) {
  json body{{"worker", worker_}, {"leases", leases}};
  for (const LeaseProgress& item : progress) {
    body["progress"].push_back(message_json(item.lease, item.message));
  }
  const auto document = post(api_, "/v1/leases:heartbeat", body);
  if (!document) return document.error();
  return HeartbeatAnswer{ttl_in(*document), texts_in(*document, "cancel"),
                         texts_in(*document, "gone")};
}

Result<std::vector<std::string>> LeaseApi::report(const std::vector<SpooledResult>& results) {
  json list = json::array();
  for (const SpooledResult& result : results) {
    json item = message_json(result.lease, result.message);
    if (!result.log.empty()) item["log"] = result.log;
    list.push_back(std::move(item));
  }
  const auto document =
      post(api_, "/v1/leases:result", {{"worker", worker_}, {"results", std::move(list)}});
  if (!document) return document.error();
  std::vector<std::string> settled;
  for (const json& item : member(*document, "results")) {
    const std::string status = text_in(item, "status");
    if (status == "accepted" || status == "duplicate" || status == "unknown") {
      settled.push_back(text_in(item, "lease"));
    }
  }
  if (settled.empty() && !results.empty()) return strange(api_.url(), "without a status");
  return settled;
}

Result<void> LeaseApi::release(const std::vector<std::string>& leases) {
  const auto document = post(api_, "/v1/leases:release", {{"worker", worker_}, {"leases", leases}});
  if (!document) return document.error();
  return {};
}

Result<JobShape> LeaseApi::job(const std::string& id) {
  const auto reply = api_.get(cli::job_path(id));
  if (!reply) return reply.error();
  const auto document = parse_json(reply->body);
  if (!document) return strange(api_.url(), "without a JSON object");
  const json& spec = member(*document, "spec");
  auto parameters = parameters_from_json(member(spec, "space"), "/spec/space");
  if (!parameters) return parameters.error();
  auto space = SearchSpace::make(std::move(*parameters), "/spec/space");
  if (!space) return space.error();
  auto objectives = objectives_from_json(member(spec, "objectives"), "/spec/objectives");
  if (!objectives) return objectives.error();
  return JobShape{std::move(*space), std::move(*objectives)};
}

}  // namespace paretod
