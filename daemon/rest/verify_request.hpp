#pragma once
// What a request to verify asks for, and which candidates that is.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "daemon/jobs/front_query.hpp"
#include "daemon/jobs/surrogate_desk.hpp"

namespace paretod {

/// One of candidates, a query that chooses, and count.
struct VerifyRequest {
  std::size_t count = 1;
  FrontQuery query = {};
  std::vector<Point> candidates = {};
  std::optional<std::uint64_t> fidelity = {};  ///< empty: what the search asks for
  std::uint64_t replicate = 0;
};

/// {"count":3}, or a question in the words of a front query ({"preference":"a:0.7,b:0.3"},
/// {"reference_point":..}, {"knee":true}, each with "where"), or {"candidates":[{..}]}; "fidelity"
/// and "replicate" with each.  Nothing is {"count":1}.
Result<VerifyRequest> read_verify_request(const nlohmann::json& body, const JobSpec& spec);

/// `surrogate` may be null where candidates are given.  conflict when there is nothing left to
/// measure, invalid when a candidate was measured before.
Result<std::vector<Candidate>> candidates_of(Job& job, const VerifyRequest& request,
                                             const JobSurrogate* surrogate);

}  // namespace paretod
