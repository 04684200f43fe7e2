#include "daemon/rest/system_api.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/params_json.hpp"
#include "adapters/json/space_json.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/metrics.hpp"
#include "daemon/rest/views.hpp"

namespace paretod {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

HttpResponse list_optimizers(const JobManager& manager) {
  json list = json::array();
  for (const Optimizer& optimizer : manager.catalog().optimizers()) {
    list.push_back({{"name", optimizer.name},
                    {"revision", optimizer.revision},
                    {"summary", optimizer.summary},
                    {"source", optimizer.source},
                    {"params_schema", json_schema(optimizer.fields)}});
  }
  return json_response(200, to_text({{"optimizers", std::move(list)}}));
}

HttpResponse list_evaluators(const JobManager& manager) {
  const std::vector<LaneStatus> lanes = manager.lanes();
  json list = json::array();
  for (const Catalog::NamedEvaluator& evaluator : manager.catalog().evaluators()) {
    const EvaluatorDescription& description = evaluator.description;
    json entry{{"name", evaluator.name},
               {"type", description.type},
               {"summary", description.summary},
               {"slots", description.slots},
               {"leased", description.leased},
               {"version", description.version},
               {"paid", description.paid},
               {"currency", description.currency},
               {"worst_case", spend_view(description.worst_case, description.currency)},
               {"busy", 0},
               {"queued", 0},
               {"objectives", to_json(description.objectives)},
               {"space", description.space ? to_json(*description.space) : json(nullptr)},
               {"metrics", description.metrics},
               {"fidelity_unit", description.fidelity_unit},
               {"default_fidelity", description.default_fidelity},
               {"params_schema", json_schema(description.params)}};
    for (const LaneStatus& lane : lanes) {
      if (lane.evaluator != evaluator.name) continue;
      entry["busy"] = lane.busy;
      entry["queued"] = lane.queued;
    }
    list.push_back(std::move(entry));
  }
  return json_response(200, to_text({{"evaluators", std::move(list)}}));
}

HttpResponse show_readiness(const SystemHooks& hooks) {
  bool ready = true;
  json checks = json::object();
  if (hooks.readiness) {
    for (const ReadinessCheck& check : hooks.readiness()) {
      ready = ready && check.ready;
      checks[check.name] = check.message;
    }
  }
  HttpResponse response = json_response(
      ready ? 200 : 503, to_text({{"status", ready ? "ok" : "not ready"}, {"checks", checks}}));
  if (!ready) response.headers.emplace_back("Retry-After", "1");
  return response;
}

HttpResponse show_metrics(JobManager& manager, const EventFeed& feed, const SystemHooks& hooks,
                          Clock::time_point started) {
  MetricsInput input;
  for (const auto& job : manager.list()) {
    ++input.jobs[static_cast<std::size_t>(job->status())];
    job->with_state([&](JobState& state) {
      for (std::size_t i = 0; i < input.trials.size(); ++i) {
        input.trials[i] += state.count(static_cast<TrialStatus>(i));
      }
      input.evaluation_seconds += state.spent().seconds;
    });
  }
  input.unreadable_jobs = manager.unreadable().size();
  input.lanes = manager.lanes();
  if (hooks.http_counters) input.http = hooks.http_counters();
  input.event_clients = feed.clients();
  input.uptime_seconds = std::chrono::duration<double>(Clock::now() - started).count();
  input.durability = manager.backend().durability();
  input.build = hooks.build;
  HttpResponse response = json_response(200, metrics_text(input));
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  return response;
}

}  // namespace

std::vector<Operation> system_operations(JobManager& manager, EventFeed& feed, SystemHooks hooks) {
  return {{.method = "GET",
           .pattern = "/v1/optimizers",
           .name = "listOptimizers",
           .summary = "Lists the optimizers and the schemas of their params.",
           .answers = {{200, "All optimizers.", "OptimizerList"}},
           .handler = [&](const Call&) { return list_optimizers(manager); }},
          {.method = "GET",
           .pattern = "/v1/evaluators",
           .name = "listEvaluators",
           .summary = "Lists the configured evaluators, what they declare and how busy they are.",
           .answers = {{200, "All evaluators.", "EvaluatorList"}},
           .handler = [&](const Call&) { return list_evaluators(manager); }},
          {.method = "GET",
           .pattern = "/healthz",
           .name = "getHealth",
           .summary = "Says that the daemon runs; needs no token.",
           .answers = {{200, "It runs.", "Health"}},
           .handler =
               [](const Call&) {
                 return json_response(200, to_text({{"status", "ok"}}));
               }},
          {.method = "GET",
           .pattern = "/readyz",
           .name = "getReadiness",
           .summary = "Says whether the daemon can do its work.",
           .answers = {{200, "It can.", "Readiness"}, {503, "It cannot now.", "Readiness"}},
           .handler = [hooks](const Call&) { return show_readiness(hooks); }},
          {.method = "GET",
           .pattern = "/metrics",
           .name = "getMetrics",
           .summary = "Shows metrics in the Prometheus text format.",
           .answers = {{200, "The metrics.", "", "text/plain"}},
           .handler = [&manager, &feed, hooks, started = Clock::now()](const Call&) {
             return show_metrics(manager, feed, hooks, started);
           }}};
}

}  // namespace paretod
