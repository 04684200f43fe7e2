#pragma once
// Errors as problem documents (RFC 9457).  The `type` of each is stable: clients may depend on it.
// Pure functions; any thread.

#include <string>
#include <string_view>

#include "daemon/rest/http_message.hpp"
#include "optimizers/core/result.hpp"

namespace paretod {

/// One kind of problem as clients know it.
struct ProblemType {
  int status;
  std::string_view type;
  std::string_view title;
};

namespace problem_types {
inline constexpr ProblemType bad_query{400, "/problems/bad-query", "Bad query"};
inline constexpr ProblemType bad_request{400, "/problems/bad-request", "Bad request"};
inline constexpr ProblemType malformed_json{400, "/problems/malformed-json", "Malformed JSON"};
inline constexpr ProblemType unauthorized{401, "/problems/unauthorized", "Credentials needed"};
inline constexpr ProblemType denied{403, "/problems/denied", "Not allowed"};
inline constexpr ProblemType not_found{404, "/problems/not-found", "Not found"};
inline constexpr ProblemType conflict{409, "/problems/conflict",
                                      "Not possible in the present state"};
inline constexpr ProblemType invalid_spec{422, "/problems/invalid-spec",
                                          "The request does not describe a valid job"};
inline constexpr ProblemType invalid_request{422, "/problems/invalid-request",
                                             "The request is not valid"};
inline constexpr ProblemType exhausted{429, "/problems/exhausted", "A limit is reached"};
inline constexpr ProblemType too_many_requests{429, "/problems/too-many-requests",
                                               "Too many requests"};
inline constexpr ProblemType corrupt{500, "/problems/corrupt", "Stored data cannot be trusted"};
inline constexpr ProblemType internal{500, "/problems/internal", "Internal error"};
inline constexpr ProblemType unavailable{503, "/problems/unavailable", "Try again later"};
}  // namespace problem_types

/// The problem type that each kind of error has unless its place says otherwise.
const ProblemType& problem_type(ErrorKind kind);

/// {"type","title","status","detail"} and, if there are any, "problems": [{"pointer","message"}].
/// 503 and 429 carry Retry-After.
HttpResponse problem_response(const ProblemType& type, const std::string& detail,
                              const Problems& problems = {});
HttpResponse problem_response(const Error& error);
/// `type` replaces the usual one of an `invalid` error; errors of other kinds keep theirs.
HttpResponse problem_response(const Error& error, const ProblemType& type);

}  // namespace paretod
