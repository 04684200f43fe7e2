#include "daemon/rest/surrogate_api.hpp"

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/hash/sha256.hpp"
#include "adapters/json/parse.hpp"
#include "adapters/json/space_json.hpp"
#include "daemon/rest/etag.hpp"
#include "daemon/rest/jobs_api.hpp"
#include "daemon/rest/json_text.hpp"
#include "daemon/rest/predicted_front.hpp"
#include "daemon/rest/problem.hpp"
#include "daemon/rest/snapshot.hpp"
#include "daemon/rest/surrogate_view.hpp"
#include "daemon/rest/verify_request.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::size_t max_key_bytes = 128;
constexpr std::size_t verify_bytes = 1024 * 1024;

/// On the desk's thread nobody else would turn an exception into an answer.
template <class Make>
HttpResponse made(Make make) {
  try {
    return make();
  } catch (const std::exception& error) {
    return problem_response(problem_types::internal,
                            std::string("The answer could not be made: ") + error.what());
  }
}

/// What an answer depends on beside the question.
std::string tag_of(Job& job, std::uint64_t told, const NameValues& query) {
  return "W/\"p" + std::to_string(told) + "-" + std::string(name_of(job.status())) + "-" +
         query_digest(query) + "\"";
}

/// 304 if the client has the answer, else `write` on the surrogate, when it is there.
HttpResponse answer_later(SurrogateDesk& surrogates, const std::shared_ptr<Job>& job,
                          const Call& call,
                          std::function<HttpResponse(const JobSurrogate&)> write) {
  const NameValues& query = call.request.query;
  const std::uint64_t told =
      job->with_state([](JobState& state) { return state.told_order().size(); });
  const std::string tag = tag_of(*job, told, query);
  HttpResponse response;
  if (lists_tag(call.request.header("if-none-match").value_or(""), tag)) {
    response.status = 304;
    response.headers = {{"ETag", tag}, {"Cache-Control", "no-cache"}};
    return response;
  }
  response.deferred = std::make_shared<DeferredResponse>();
  surrogates.ask(job, [job, query, write = std::move(write),
                       later = response.deferred](const Result<JobSurrogate>& surrogate) {
    if (!surrogate) return later->set(problem_response(surrogate.error()));
    HttpResponse written = made([&] { return write(*surrogate); });
    written.headers.emplace_back("ETag", tag_of(*job, surrogate->told, query));
    written.headers.emplace_back("Cache-Control", "no-cache");
    later->set(std::move(written));
  });
  return response;
}

HttpResponse get_surrogate(const JobManager& manager, SurrogateDesk& surrogates, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  return answer_later(surrogates, *job, call, [job = *job](const JobSurrogate& surrogate) {
    return json_response(200, to_text(surrogate_view(job->id(), spec_of(*job), surrogate)));
  });
}

// ---- verify ------------------------------------------------------------------------------------

json verified_view(Job& job, const JobState::Injection& injection, const JobSurrogate* surrogate) {
  const JobSpec& spec = spec_of(job);
  std::vector<Candidate> candidates;
  job.with_state([&](JobState& state) {
    for (std::size_t i = 0; i < injection.count; ++i) {
      candidates.push_back(state.trials()[injection.first - 1 + i].candidate);
    }
  });
  json view{{"job", job.id()}, {"trials", json::array()}};
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    json trial{{"trial", injection.first + i},
               {"candidate", candidate_json(spec.space, candidates[i].point)},
               {"fidelity", candidates[i].fidelity},
               {"replicate", candidates[i].replicate},
               {"predicted", nullptr}};
    if (surrogate != nullptr) {
      trial["predicted"] =
          predicted_objectives(surrogate->model->predict(candidates[i].point), spec.objectives);
    }
    view["trials"].push_back(std::move(trial));
  }
  return view;
}

HttpResponse verify(JobManager& manager, const std::shared_ptr<Job>& job,
                    const VerifyRequest& request, const std::string& key, const std::string& digest,
                    const Result<JobSurrogate>& surrogate) {
  const JobSurrogate* known = surrogate ? &*surrogate : nullptr;
  // A repeat gets what the request before got, whatever is predicted by now.
  const auto repeated = job->with_state([&](JobState& state) {
    const auto* found = state.injection(key);
    return found != nullptr && found->request_digest == digest ? std::optional(*found)
                                                               : std::nullopt;
  });
  if (repeated) return json_response(200, to_text(verified_view(*job, *repeated, known)));
  if (known == nullptr && request.candidates.empty()) return problem_response(surrogate.error());
  auto candidates = candidates_of(*job, request, known);
  if (!candidates) return problem_response(candidates.error());
  const auto injected = manager.inject(job, {0, std::move(*candidates), key, digest});
  if (!injected) return problem_response(injected.error());
  return json_response(202, to_text(verified_view(*job, *injected, known)));
}

HttpResponse verify_job(JobManager& manager, SurrogateDesk& surrogates, const Call& call) {
  const auto job = find_job(manager, call);
  if (!job) return problem_response(job.error());
  const std::string key = call.request.header("idempotency-key").value_or("");
  const bool printable =
      std::all_of(key.begin(), key.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  if (call.request.header("idempotency-key") &&
      (key.empty() || key.size() > max_key_bytes || !printable)) {
    return problem_response(problem_types::bad_request,
                            "Idempotency-Key must be 1 to 128 printable ASCII characters.");
  }
  const Result<json> body =
      call.request.body.empty() ? json::object() : parse_json(call.request.body);
  if (!body) return problem_response(body.error(), problem_types::malformed_json);
  auto request = read_verify_request(*body, spec_of(**job));
  if (!request) return problem_response(request.error());
  const std::string digest = key.empty() ? "" : sha256_hex(to_text(*body));
  HttpResponse response;
  response.deferred = std::make_shared<DeferredResponse>();
  surrogates.ask(*job, [&manager, job = *job, request = std::move(*request), key, digest,
                        later = response.deferred](const Result<JobSurrogate>& surrogate) {
    later->set(made([&] { return verify(manager, job, request, key, digest, surrogate); }));
  });
  return response;
}

}  // namespace

HttpResponse predicted_front(SurrogateDesk& surrogates, const std::shared_ptr<Job>& job,
                             FrontQuery query, std::size_t limit, const Call& call) {
  Problems problems;
  for (const char* name : {"at", "confidence"}) {
    if (!call.query.text(name)) continue;
    problems.push_back({std::string("/query/") + name,
                        "belongs to measured fronts; leave it out with source=predicted, whose "
                        "points have standard deviations and whose surrogate knows all trials"});
  }
  if (!problems.empty()) {
    return problem_response(problem_types::bad_query, "The query is not valid.", problems);
  }
  const bool csv = call.query.text("format") == "csv";
  return answer_later(surrogates, job, call,
                      [job, query = std::move(query), limit, csv](const JobSurrogate& surrogate) {
                        if (!csv)
                          return json_response(200, predicted_json(*job, surrogate, query, limit));
                        HttpResponse response;
                        response.content_type = "text/csv; charset=utf-8; header=present";
                        response.body = predicted_csv(*job, surrogate, query, limit);
                        return response;
                      });
}

std::vector<Operation> surrogate_operations(JobManager& manager, SurrogateDesk& surrogates) {
  return {
      {.method = "GET",
       .pattern = "/v1/jobs/{job}/surrogate",
       .name = "getSurrogate",
       .summary =
           "Shows the surrogate that the job's optimizer fits to what was measured: coefficients, "
           "link, diagnostics, sampled box and whether there is a trade-off at all.",
       .headers = {{"If-None-Match", "The ETag of an earlier answer."}},
       .answers = {{200, "The surrogate; ETag changes with it.", "Surrogate"},
                   {304, "Nothing has been told since.", "", ""},
                   problem_answer(404, "There is no such job."),
                   problem_answer(409, "The job has no surrogate, or none yet.")},
       .handler = [&](const Call& call) { return get_surrogate(manager, surrogates, call); }},
      {.method = "POST",
       .pattern = "/v1/jobs/{job}:verify",
       .name = "verifyJob",
       .summary =
           "Has predicted points measured, in a running job or in one that has ended: the `count` "
           "most worth it, the one that a question chooses, or given candidates. They become "
           "trials of the job, on top of its budget of trials and within every other budget.",
       .headers =
           {{"Idempotency-Key",
             "1 to 128 printable characters; a repeat of the request asks for nothing more."}},
       .body_schema = "VerifyRequest",
       .body_limit = verify_bytes,
       .answers = {{202, "The trials, which are durable and will be evaluated.", "Verification"},
                   {200, "The trials of an earlier request with this key.", "Verification"},
                   problem_answer(400, "The body is not JSON."),
                   problem_answer(404, "There is no such job."),
                   problem_answer(409,
                                  "The job has no surrogate, is paused or out of budget, or the "
                                  "key was used with another body."),
                   problem_answer(422, "A field of the body is not valid."),
                   problem_answer(503, "The log cannot be written now.")},
       .handler = [&](const Call& call) { return verify_job(manager, surrogates, call); }}};
}

}  // namespace paretod
