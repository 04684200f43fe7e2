#include "daemon/rest/verify_request.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "adapters/json/object_reader.hpp"
#include "adapters/json/space_json.hpp"
#include "daemon/rest/predicted_front.hpp"

namespace paretod {
namespace {

using nlohmann::json;

constexpr std::uint64_t most_trials = 100;
/// One log entry has to hold them (redis-log.md rule 3).
constexpr std::size_t most_bytes = 512 * 1024;

/// The same as GET /front reads; its problems point into the body here.
void read_question(ObjectReader& reader, const JobSpec& spec, VerifyRequest& request,
                   Problems& problems) {
  FrontQuestion question;
  question.preference = reader.string("preference");
  question.method = reader.string("method");
  question.reference_point = reader.string("reference_point");
  question.knee = reader.boolean("knee").value_or(false);
  if (const json* where = reader.find("where"); where != nullptr && where->is_string()) {
    question.where = {where->get<std::string>()};
  } else {
    question.where = reader.strings("where").value_or(std::vector<std::string>());
  }
  auto query = read_front_query(question, spec.objectives);
  if (query) {
    request.query = std::move(*query);
    return;
  }
  constexpr std::string_view prefix = "/query";
  for (const Problem& problem : query.error().problems) {
    problems.push_back({problem.pointer.substr(prefix.size()), problem.message});
  }
}

void read_candidates(ObjectReader& reader, const JobSpec& spec, VerifyRequest& request,
                     Problems& problems) {
  const json* list = reader.find("candidates");
  if (list == nullptr) return;
  if (!list->is_array() || list->empty() || list->size() > most_trials) {
    return reader.refuse("candidates",
                         "must be an array of 1 to " + std::to_string(most_trials) + " candidates");
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    auto point = point_from_json(spec.space, (*list)[i], "/candidates/" + std::to_string(i));
    if (point) {
      request.candidates.push_back(std::move(*point));
    } else {
      const Problems& found = point.error().problems;
      problems.insert(problems.end(), found.begin(), found.end());
    }
  }
  if (request.candidates.size() * spec.space.dimension() * 12 > most_bytes) {
    reader.refuse("candidates", "are too large for one request; send fewer at a time");
  }
}

/// What the search itself asks for: of its latest trial that is ok, or else its latest.
std::uint64_t usual_fidelity(JobState& state) {
  const TrialRecord* latest = nullptr;
  for (auto number = state.told_order().rbegin(); number != state.told_order().rend(); ++number) {
    const TrialRecord& record = state.trials()[*number - 1];
    if (record.injected || *number <= state.imported()) continue;
    if (record.outcome->status == TrialStatus::ok) return record.candidate.fidelity;
    if (latest == nullptr) latest = &record;
  }
  return latest != nullptr ? latest->candidate.fidelity : 0;
}

}  // namespace

Result<VerifyRequest> read_verify_request(const json& body, const JobSpec& spec) {
  Problems problems;
  ObjectReader reader(body, "", problems);
  VerifyRequest request;
  const auto count = reader.count("count");
  if (count && (*count < 1 || *count > most_trials)) {
    reader.refuse("count", "must be between 1 and " + std::to_string(most_trials));
  }
  request.count = static_cast<std::size_t>(count.value_or(1));
  read_question(reader, spec, request, problems);
  read_candidates(reader, spec, request, problems);
  request.fidelity = reader.count("fidelity");
  request.replicate = reader.count("replicate").value_or(0);
  reader.refuse_others();
  if (problems.empty()) {
    const bool chooses = request.query.chooses();
    const bool given = !request.candidates.empty();
    if (given && chooses) {
      reader.refuse("candidates", "say what to measure; leave the question out");
    } else if (count && (given || chooses)) {
      reader.refuse("count",
                    "is of the points most worth measuring; leave it out where the "
                    "request names points or chooses one");
    } else if (!request.query.where.empty() && !chooses) {
      reader.refuse("where", "constrains a choice; add preference, reference_point or knee");
    }
  }
  if (!problems.empty()) return invalid("The request is not valid.", std::move(problems));
  return request;
}

Result<std::vector<Candidate>> candidates_of(Job& job, const VerifyRequest& request,
                                             const JobSurrogate* surrogate) {
  std::vector<Point> points = request.candidates;
  const bool given = !points.empty();
  const bool chosen = !given && request.query.chooses();
  if (chosen) {
    SurrogateAnswer solved = surrogate->model->solve(surrogate_query(request.query));
    if (solved.miss > 0) {
      return Error{ErrorKind::conflict,
                   "no predicted point meets the constraints, so there is nothing to measure; GET "
                   "the front with source=predicted says what comes closest"};
    }
    points.push_back(std::move(solved.point.point));
  } else if (!given) {
    for (PredictedPoint& point : surrogate->model->worth_verifying(request.count)) {
      points.push_back(std::move(point.point));
    }
  }
  return job.with_state([&](JobState& state) -> Result<std::vector<Candidate>> {
    const std::uint64_t fidelity = request.fidelity.value_or(usual_fidelity(state));
    std::vector<Candidate> candidates;
    Problems problems;
    for (std::size_t i = 0; i < points.size(); ++i) {
      Candidate candidate{std::move(points[i]), fidelity, request.replicate, "verify"};
      const auto trial = state.measured_as(candidate);
      if (!trial) {
        candidates.push_back(std::move(candidate));
        continue;
      }
      const std::string where = "is trial " + std::to_string(*trial) + " already" +
                                "; give another replicate to measure it again";
      if (given) problems.push_back({"/candidates/" + std::to_string(i), where});
      if (chosen) return Error{ErrorKind::conflict, "the point that is chosen " + where};
    }
    if (!problems.empty()) return invalid("The request is not valid.", std::move(problems));
    if (!candidates.empty()) return candidates;
    return Error{ErrorKind::conflict, "every predicted point worth measuring has been measured"};
  });
}

}  // namespace paretod
